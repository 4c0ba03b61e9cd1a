"""One model or one set of samples, all measurements, one JSON file; nothing is done twice under the same key.

Beside RUN/eval/<name>.json lie its parts, in <name>.parts/: answers-<benchmark>/ (the model's raw texts, as
they came), samples-<benchmark>.jsonl (raw and cleaned, in EvalPlus's format), verdicts-<benchmark>.jsonl
(the ledger), bits_per_byte-<benchmark>.json. RUN/eval/references-<benchmark>.jsonl is shared by all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.benchmarks import GROUPS, Solution, Task, benchmark, load, parts
from evaluation.bits_per_byte import bits_per_byte
from evaluation.config import EvaluationConfig
from evaluation.generate import ASKED, generate, has_chat_template
from evaluation.judging.outcome import Verdict
from evaluation.model import fingerprint, load_model
from evaluation.prompts import Form, answer_of, prompt_of
from evaluation.samples import Samples, read_samples
from evaluation.scores import combine, summarise
from evaluation.statistics import paired_difference
from evaluation.verdicts import Watch, judge, unwatched
from snowcoder.base import UserError
from snowcoder.files import write_atomically

# Raised when the meaning of a stored part changes.
PARTS_VERSION = 2
FORMAT = 2


def evaluate_model(
    model_dir: Path, cfg: EvaluationConfig, out_path: Path, watch: Watch = unwatched
) -> dict[str, Any]:
    """Measure the model in an HF directory, write `out_path`, return its content.

    {"humaneval": {"passed", "total", "pass@1", "key", …}, "bits_per_byte": {"humaneval": value},
    "bits_per_byte_tasks": {"humaneval": {task: [bits, bytes]}}, "model": sha256 of its files}. A group has a
    summary of its own beside its parts'. UserError: a missing model or benchmark file, before anything is
    computed; vLLM, when it is needed.
    """
    names = _single(cfg.benchmarks)
    tasks = {name: load(name, cfg.data_dir)[: cfg.max_tasks] for name in names}
    scored = {name: load(name, cfg.data_dir)[: cfg.max_tasks] for name in cfg.bits_per_byte_benchmarks}
    model_sha = fingerprint(model_dir)
    folder = _parts_of(out_path)
    result: dict[str, Any] = {
        "format": FORMAT,
        "model": model_sha,
        "config": json.loads(cfg.model_dump_json()),
    }
    if scored:
        measured = _bits_per_byte(model_dir, model_sha, scored, folder)
        result["bits_per_byte"] = {name: part["value"] for name, part in measured.items()}
        result["bits_per_byte_tasks"] = {name: part["tasks"] for name, part in measured.items()}
    for name in names:
        samples, generation = _generate(model_dir, model_sha, cfg, name, tasks[name], folder)
        key = {"model": model_sha, "prompt": generation.pop("prompt"), "decoding": _decoding(cfg)}
        result[name] = _judged(name, tasks[name], samples, cfg, folder, key, watch)
        result[name]["generation"] = generation
    return _finish(result, cfg, out_path)


def evaluate_samples(
    path: Path, cfg: EvaluationConfig, out_path: Path, watch: Watch = unwatched
) -> dict[str, Any]:
    """Judge samples made elsewhere (`evaluation.samples`); writes and returns what `evaluate_model` does.

    Of a group, `path` is a folder with one file a part: evoeval_subtle.jsonl, … UserError: as `read_samples`.
    """
    names = _single(cfg.benchmarks)
    if len(names) > 1 and not path.is_dir():
        raise UserError(
            f"{path}: {' and '.join(names)} need a folder with one file each: {names[0]}.jsonl, …"
        )
    tasks = {name: load(name, cfg.data_dir)[: cfg.max_tasks] for name in names}
    read = {
        name: read_samples(_file_of(path, name) if len(names) > 1 else path, tasks[name]) for name in names
    }
    folder = _parts_of(out_path)
    result: dict[str, Any] = {
        "format": FORMAT,
        "samples": str(path),
        "config": json.loads(cfg.model_dump_json()),
    }
    for name, samples in read.items():
        _keep_samples(folder, name, tasks[name], samples.texts, None)
        key = {"model": f"samples {samples.sha256}", "prompt": "as given", "decoding": "as given"}
        result[name] = _judged(name, tasks[name], samples.texts, _fitting(cfg, samples), folder, key, watch)
    return _finish(result, cfg, out_path)


def compare(
    evaluation: dict[str, Any], control: dict[str, Any], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Bits per byte of one `evaluate_model` result minus a control's, per benchmark that both have.

    {"humaneval": {"value", "low", "high"}}: negative is better than the control. UserError if tasks differ.
    """
    found = {}
    for name, ours in evaluation.get("bits_per_byte_tasks", {}).items():
        theirs = control.get("bits_per_byte_tasks", {}).get(name)
        if theirs is None:
            continue
        if ours.keys() != theirs.keys():
            raise UserError(
                f"bits per byte of {name}: the two evaluations have other tasks: repeat one of them"
            )
        bits, sizes = zip(*ours.values(), strict=True)
        other = [theirs[task][0] for task in ours]
        found[name] = asdict(paired_difference(bits, other, sizes, seed))
    return found


def _judged(
    name: str,
    tasks: Sequence[Task],
    samples: Sequence[Sequence[str]],
    cfg: EvaluationConfig,
    folder: Path,
    key: dict[str, Any],
    watch: Watch,
) -> dict[str, Any]:
    failing: list[Verdict] | None = None
    if cfg.check_references and any(task.canonical_solution for task in tasks):
        solutions = [[task.canonical_solution] for task in tasks]
        ledger = (
            folder.parent / f"references-{name}-{_host()}.jsonl"
        )  # a verdict of another machine is no check
        found = judge(tasks, solutions, cfg, ledger, watch, f"{name} references")
        failing = [verdict for row in found.verdicts for verdict in row if not verdict.passed]
    judged = judge(tasks, samples, cfg, folder / f"verdicts-{name}.jsonl", watch, name)
    summary = summarise(tasks, judged, cfg, failing)
    summary["key"] = {
        **key,
        "dataset": _content(tasks),
        "sandbox": summary["sandbox"],
        "references": summary.get("references", "none published" if failing is None else ""),
    }
    return summary


def _generate(
    model_dir: Path, model_sha: str, cfg: EvaluationConfig, name: str, tasks: list[Task], folder: Path
) -> tuple[list[list[str]], dict[str, Any]]:
    known, form = benchmark(name), _form(cfg, model_dir)
    prompts = [prompt_of(task, known, form, cfg.strip_prompt, cfg.stops) for task in tasks]
    # Answers of another model or other settings lie in another folder.
    asked = _key(model_sha, cfg.model_dump(include=ASKED))[:16]
    found = generate(
        model_dir, prompts, cfg, folder / f"answers-{name}" / asked, folder / f"generation-{name}.log"
    )
    samples = [
        [answer_of(task, prompt, text) for text in texts]
        for task, prompt, texts in zip(tasks, prompts, found.raw, strict=True)
    ]
    _keep_samples(folder, name, tasks, samples, found.raw)
    return samples, {
        "prompt": "instruct" if known.instruct else form,
        "seconds": found.seconds,
        "engine": found.engine,
        "shortened_prompts": found.shortened_prompts,
    }


def _form(cfg: EvaluationConfig, model_dir: Path) -> Form:
    if cfg.prompt == "auto":
        return "instruct" if has_chat_template(model_dir) else "base"
    return cfg.prompt


def _keep_samples(
    folder: Path,
    name: str,
    tasks: Sequence[Task],
    samples: Sequence[Sequence[str]],
    raw: Sequence[Sequence[str]] | None,
) -> None:
    """What is judged, in EvalPlus's format, with the model's own text beside it."""
    lines = []
    for row, (task, texts) in enumerate(zip(tasks, samples, strict=True)):
        for number, text in enumerate(texts):
            field = "solution" if isinstance(text, Solution) else "completion"
            line = {"task_id": task.task_id, field: str(text)}
            lines.append(json.dumps(line if raw is None else {**line, "raw": raw[row][number]}) + "\n")
    write_atomically(folder / f"samples-{name}.jsonl", "".join(lines))


def _bits_per_byte(
    model_dir: Path, model_sha: str, tasks: dict[str, list[Task]], folder: Path
) -> dict[str, dict[str, Any]]:
    model = functools.cache(lambda: load_model(model_dir))  # once, and only if some part is missing

    def measure(name: str) -> dict[str, Any]:
        found = bits_per_byte(*model(), tasks[name])
        return {"value": found.value, "tasks": {task.task: [task.bits, task.bytes] for task in found.tasks}}

    return {
        name: _replay(
            folder / f"bits_per_byte-{name}.json",
            _key(model_sha, _content(tasks[name])),
            functools.partial(measure, name),
        )
        for name in tasks
    }


def _fitting(cfg: EvaluationConfig, samples: Samples) -> EvaluationConfig:
    """pass@1, @10 and @100 as far as the file has samples for them, beside what was asked for."""
    fewest = min(len(texts) for texts in samples.texts if texts)
    wanted = sorted({*cfg.pass_at, *(k for k in (1, 10, 100) if k <= fewest)})
    return cfg.model_copy(update={"pass_at": tuple(wanted)})


def _finish(result: dict[str, Any], cfg: EvaluationConfig, out_path: Path) -> dict[str, Any]:
    for group in cfg.benchmarks:
        if group in GROUPS:
            result[group] = combine([result[name] for name in parts(group)], cfg.seed)
    _write(out_path, result)
    return result


def _single(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(part for name in names for part in parts(name)))


def _file_of(folder: Path, name: str) -> Path:
    found = [path for suffix in (".jsonl", ".jsonl.gz", "") if (path := folder / f"{name}{suffix}").exists()]
    if not found:
        raise UserError(f"{folder}: no {name}.jsonl in it: give one file (or folder) a benchmark")
    return found[0]


def _decoding(cfg: EvaluationConfig) -> dict[str, Any]:
    how = cfg.model_dump(mode="json", include=ASKED | {"stops", "strip_prompt"})
    del how["kv_cache_gib"]
    return how


def _host() -> str:
    return hashlib.sha256(f"{platform.node()} {platform.python_version()}".encode()).hexdigest()[:8]


def _parts_of(out_path: Path) -> Path:
    return out_path.parent / f"{out_path.stem}.parts"


def _content(tasks: Sequence[Task]) -> str:
    return hashlib.sha256(repr(list(tasks)).encode()).hexdigest()


def _key(*facts: Any) -> str:
    return hashlib.sha256(json.dumps([PARTS_VERSION, *facts], sort_keys=True).encode()).hexdigest()


def _replay(path: Path, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The part in `path` if it has this key, else the computed one, written there."""
    if path.is_file():
        stored = json.loads(path.read_text())
        if stored["key"] == key:
            return stored["part"]
    part = compute()
    _write(path, {"key": key, "part": part})
    return part


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1))
