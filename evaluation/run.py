"""One model, all measurements, one JSON file; what is already measured under the same key is not done again.

Next to RUN/eval/<phase>.json lie its parts: <phase>.parts/generation-<benchmark>.json (raw and cut texts,
the generation's log) and references-<benchmark>.json (shared by all phases).
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

from evaluation.benchmarks import Task, benchmark, load
from evaluation.bits_per_byte import bits_per_byte
from evaluation.config import EvaluationConfig
from evaluation.generate import Generation, generate
from evaluation.judge import evaluate_functional, failing_references
from evaluation.model import fingerprint, load_model
from evaluation.sandbox.process import choose_tier
from evaluation.statistics import paired_difference
from snowcoder.base import UserError
from snowcoder.files import write_atomically

# Raised when the meaning of a stored part changes.
PARTS_VERSION = 1


def evaluate_model(model_dir: Path, cfg: EvaluationConfig, out_path: Path) -> dict[str, Any]:
    """Measure the model in an HF directory, write `out_path`, return its content.

    {"humaneval": {"passed", "total", "pass@1", …}, "bits_per_byte": {"humaneval": value},
    "bits_per_byte_tasks": {"humaneval": {task: [bits, bytes]}}, "model": sha256 of its files}.
    UserError: a missing model or benchmark file, before anything is computed; vLLM, when it is needed.
    """
    tasks = {
        name: load(name, cfg.data_dir)[: cfg.max_tasks]
        for name in dict.fromkeys((*cfg.benchmarks, *cfg.bits_per_byte_benchmarks))
    }
    model_sha = fingerprint(model_dir)
    parts = out_path.parent / f"{out_path.stem}.parts"
    result: dict[str, Any] = {"model": model_sha, "config": json.loads(cfg.model_dump_json())}
    if cfg.bits_per_byte_benchmarks:
        measured = _bits_per_byte(model_dir, model_sha, cfg, tasks, parts)
        result["bits_per_byte"] = {name: part["value"] for name, part in measured.items()}
        result["bits_per_byte_tasks"] = {name: part["tasks"] for name, part in measured.items()}
    for name in cfg.benchmarks:
        result[name] = _functional(model_dir, model_sha, cfg, name, tasks[name], parts)
    _write(out_path, result)
    return result


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


def _bits_per_byte(
    model_dir: Path, model_sha: str, cfg: EvaluationConfig, tasks: dict[str, list[Task]], parts: Path
) -> dict[str, dict[str, Any]]:
    model = functools.cache(lambda: load_model(model_dir))  # once, and only if some part is missing

    def measure(name: str) -> dict[str, Any]:
        found = bits_per_byte(*model(), tasks[name])
        return {"value": found.value, "tasks": {task.task: [task.bits, task.bytes] for task in found.tasks}}

    return {
        name: _replay(
            parts / f"bits_per_byte-{name}.json",
            _key(model_sha, _content(tasks[name])),
            functools.partial(measure, name),
        )
        for name in cfg.bits_per_byte_benchmarks
    }


def _functional(
    model_dir: Path, model_sha: str, cfg: EvaluationConfig, name: str, tasks: list[Task], parts: Path
) -> dict[str, Any]:
    known, content = benchmark(name), _content(tasks)
    asked = cfg.model_dump(
        include={
            "samples",
            "temperature",
            "top_p",
            "max_new_tokens",
            "stops",
            "strip_prompt",
            "seed",
            "dtype",
        }
    )
    prompts = [task.prompt for task in tasks]
    log = parts / f"generation-{name}.log"
    generation = Generation(
        **_replay(
            parts / f"generation-{name}.json",
            _key(model_sha, content, asked, known.stops),
            lambda: asdict(generate(model_dir, prompts, cfg, known.stops, log)),
        )
    )
    summary = evaluate_functional(tasks, generation.completions, cfg).summary()
    summary["generation"] = {
        "seconds": generation.seconds,
        "engine": generation.engine,
        "shortened_prompts": generation.shortened_prompts,
    }
    if cfg.check_references:
        host = [platform.python_version(), platform.machine(), choose_tier(cfg.sandbox)]
        summary["failing_references"] = _replay(
            parts.parent / f"references-{name}.json",
            _key(content, cfg.limits.model_dump(), host),
            lambda: {"failing": [asdict(verdict) for verdict in failing_references(tasks, cfg)]},
        )["failing"]
    return summary


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
