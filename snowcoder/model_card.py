"""What lies beside an exported model: where it comes from, in words and hashes, and a way to load the last one."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.sequences.tokenizer import load_tokenizer
from snowcoder.files import write_atomically
from snowcoder.funnel import funnel, total
from train.model import embedding_count, parameter_count
from train.validation import read_record

if TYPE_CHECKING:
    from pipelines.stream import Plan
    from snowcoder.run import Run
    from train.config import TrainConfig

_DESCRIPTIONS = {
    "general": "General pretraining on all kept documents",
    "continued": "Continued pretraining on the annotator's best documents",
    "control": "Continued pretraining on random documents, to compare with",
    "enhanced": "Trained on files that a language model wrote from the best documents",
}


def write_card(
    run: Run,
    phase: str,
    plan: Plan,
    cfg: TrainConfig,
    summary: dict[str, Any],
    packing: dict[str, float],
    init_from: Path | None,
) -> Path:
    """RUN/model/PHASE/README.md in Hugging Face's form, and the run's resolved configuration beside it."""
    import jinja2

    model = run.root / "model" / phase
    found = funnel(run.root)
    read, kept = total(found.read), total(found.kept)
    rejected = [(stage, reason, total(part)) for (stage, reason), part in found.rejected.items()]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snowcoder"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    text = environment.get_template("model_card.md.j2").render(
        name=run.config.name,
        phase=phase,
        description=_DESCRIPTIONS.get(phase, phase),
        cfg=cfg,
        init_name=Path(cfg.init_from).name,
        parameters=parameter_count(cfg.model),
        embedding=embedding_count(cfg.model),
        summary=summary,
        read=read,
        kept=kept,
        rejected=sorted(rejected, key=lambda item: -item[2].documents),
        languages=sorted(
            ((lang, part.bytes / kept.bytes) for lang, part in found.kept.items() if part.bytes),
            key=lambda item: -item[1],
        ),
        packing=packing,
        benchmarks=run.config.curation.benchmarks,
        evaluation=_evaluation(run.root, phase),
        facts=_facts(run, phase, plan, summary, init_from) | {"packing": packing},
    )
    shutil.copyfile(run.root / "config.yaml", model / "run.yaml")
    write_atomically(model / "README.md", text.encode())
    return model / "README.md"


def refresh_evaluation(root: Path, phase: str) -> None:
    """Put the results there are now into the card of a phase's model, where it has one."""
    card = root / "model" / phase / "README.md"
    if not card.exists():
        return
    before, _, rest = card.read_text().partition("## Evaluation\n")
    _, _, after = rest.partition("\n## Provenance")
    if after:
        text = f"{before}## Evaluation\n\n{_evaluation(root, phase)}\n\n## Provenance{after}"
        write_atomically(card, text.encode())


def _evaluation(root: Path, phase: str) -> str:
    lines = [*_judged(root / "eval" / f"{phase}.json"), *_validated(read_record(root / "train" / phase))]
    return "\n".join(f"- {line}" for line in lines) or "Not evaluated yet: `snowcoder evaluate`."


def _facts(
    run: Run, phase: str, plan: Plan, summary: dict[str, Any], init_from: Path | None
) -> dict[str, Any]:
    """What was trained on what, as hashes that the run's records are filed under."""
    return {
        "phase": phase,
        "parent": "" if init_from is None else init_from.name,
        "checkpoint": summary["checkpoint"],
        "steps": summary["steps"],
        "skipped_steps": summary["skipped_steps"],
        "seed": run.config.seed,
        "manifest": run.manifest.fingerprint,
        "curation": {stage.name: stage.key for stage in run.corpus.curation.chain()},
        "sequences": plan.packing.stage.key,
        "tokenizer": load_tokenizer(plan.packing.tokenizer).fingerprint,
    }


def packing_totals(plan: Plan) -> dict[str, float]:
    """Of the shards that are packed so far: sequences, tokens, padding and its share, training documents cut."""
    found = [plan.packing.recorded(plan.shard(number)) for number in plan.order.shards]
    packed = [meta for meta in found if meta]
    names = ("sequences", "tokens", "padding", "cut")
    sums = {name: sum(meta.get(name, 0) for meta in packed) for name in names}
    positions = sums["tokens"] + sums["padding"]
    return {"shards": len(packed), **sums, "padding_share": sums["padding"] / max(1, positions)}


def link_model(root: Path, phase: str) -> None:
    """Make RUN/model itself loadable: its files stand for those of one phase's model.

    Links where the file system has them, else copies; each is put in place whole.
    """
    top, source = root / "model", root / "model" / phase
    names = {path.name for path in source.iterdir() if path.is_file()}
    for path in top.iterdir():
        if path.name not in names and (path.is_symlink() or path.is_file()):
            path.unlink()
    for name in sorted(names):
        made = top / f".{name}.{uuid.uuid4().hex}"
        try:
            made.symlink_to(Path(phase) / name)
        except OSError:
            shutil.copyfile(source / name, made)
        os.replace(made, top / name)


def _judged(record: Path) -> list[str]:
    """The results of `snowcoder evaluate`, where there are any."""
    if not record.exists():
        return []
    result = json.loads(record.read_text())
    judged = [(name, part) for name, part in result.items() if isinstance(part, dict) and "pass@1" in part]
    lines = [
        f"{name}: {part['passed']}/{part['total']}, pass@1 {part['pass@1']:.3f}" for name, part in judged
    ]
    bits = result.get("bits_per_byte", {})
    return lines + [f"{name}, reference solutions: {value:.4f} bits per byte" for name, value in bits.items()]


def _validated(validations: list[dict[str, Any]]) -> list[str]:
    """First and last value of each figure of validation during training."""
    if not validations:
        return []
    first, last = validations[0], validations[-1]
    return [
        f"{name}: {last[name]:.4f} bits per byte after {last['tokens']:,} tokens"
        + (f", {first[name]:.4f} after {first['tokens']:,}" if name in first and first is not last else "")
        for name in last
        if name not in ("position", "tokens", "seconds")
    ]
