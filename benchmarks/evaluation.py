"""HumanEval+ and MBPP+ end to end: this judge, sandbox on, against EvalPlus, on the same samples and cores.

    python -m benchmarks.evaluation --peer-python PYTHON [--quick] [--check] [--data DIR] [--samples N]

PYTHON is of an environment with evalplus==0.3.1. The samples are each task's reference solution and mutants of it.
Expected outputs are computed by a first round on both sides and are cached in the measured ones. EvalPlus runs in its
own process with as many workers as there are cores; its time includes what it does before and after the pool.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from evaluation.benchmarks import Solution, Task, load
from evaluation.benchmarks.inputs import load_inputs
from evaluation.config import EvaluationConfig
from evaluation.judge import evaluate_functional
from evaluation.judging.mutants import mutants

FLOOR = 2.0
SIDE = Path(__file__).parents[1] / "tests" / "soak" / "evalplus_side.py"
DATASETS = {"humaneval+": "humaneval", "mbpp+": "mbpp"}


@dataclass(frozen=True)
class Samples:
    """Programs of one benchmark, task by task."""

    tasks: list[Task]
    programs: list[list[str]]

    @property
    def rows(self) -> list[dict[str, str]]:
        return [
            {"task_id": task.task_id, "solution": program}
            for task, programs in zip(self.tasks, self.programs, strict=True)
            for program in programs
        ]


def samples(name: str, data_dir: Path, every: int, count: int) -> Samples:
    """The reference and `count` - 1 mutants of each `every`-th task."""
    tasks = load(name, data_dir)[::every]
    inputs = load_inputs(name, data_dir)
    programs = []
    for task in tasks:
        known = inputs[task.task_id]
        found = itertools.islice(mutants(known.reference, known.entry_point), count - 1)
        programs.append([known.reference, *found])
    return Samples(tasks, programs)


def ours(given: Samples, data_dir: Path, sandbox: str = "auto") -> tuple[list[bool], list[str], float]:
    """(passed, reasons, seconds), in the order of `rows`."""
    cfg = EvaluationConfig(data_dir=data_dir, sandbox=sandbox)
    started = time.perf_counter()
    completions = [[Solution(program) for program in row] for row in given.programs]
    results = evaluate_functional(given.tasks, completions, cfg)
    seconds = time.perf_counter() - started
    reasons = [f"{verdict.reason} {verdict.detail}" for verdict in results.verdicts]
    return [verdict.passed for verdict in results.verdicts], reasons, seconds


def peers(
    name: str, given: Samples, data_dir: Path, python: str, cache: Path
) -> tuple[list[bool], list[list[str]], float]:
    """(passed, [base, plus] states, seconds) by EvalPlus."""
    plain = cache / f"{name}.jsonl"
    stem = {"humaneval+": "humanevalplus/HumanEvalPlus", "mbpp+": "mbppplus/MbppPlus"}[name]
    if not plain.is_file():  # it reads no gzip
        import gzip

        plain.write_bytes(gzip.decompress((data_dir / f"{stem}.jsonl.gz").read_bytes()))
    rows, verdicts = cache / f"{name}-rows.jsonl", cache / f"{name}-verdicts.json"
    rows.write_text("".join(json.dumps(row) + "\n" for row in given.rows))
    environment = {
        **os.environ,
        "HUMANEVAL_OVERRIDE_PATH": str(plain),
        "MBPP_OVERRIDE_PATH": str(plain),
        "XDG_CACHE_HOME": str(cache),
    }
    command = [python, str(SIDE), DATASETS[name], str(rows), str(verdicts), str(os.cpu_count())]
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    found = json.loads(verdicts.read_text())
    return found["passed"], found["states"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="of an environment with evalplus==0.3.1")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/benchmarks"))
    parser.add_argument("--samples", type=int, default=4, help="per task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="every 20th task, one round")
    parser.add_argument("--check", action="store_true", help="exit 1 below the floor")
    options = parser.parse_args()
    below = False
    with tempfile.TemporaryDirectory() as folder:
        for name in DATASETS:
            every = 20 if options.quick else 1
            given = samples(name, options.data, every, options.samples)
            rounds = 1 if options.quick else options.rounds
            times: dict[str, list[float]] = {"ours": [], "evalplus": []}
            for number in range(rounds + 1):  # the first one fills both caches
                passed, _, mine = ours(given, options.data)
                theirs, _, other = peers(name, given, options.data, options.peer_python, Path(folder))
                if number:
                    times["ours"].append(mine)
                    times["evalplus"].append(other)
                    print(f"{name}: {len(passed)} samples, {mine:.1f} s, EvalPlus {other:.1f} s", flush=True)
            equal = sum(a == b for a, b in zip(passed, theirs, strict=True))
            print(f"{name}: {equal} of {len(passed)} verdicts equal")
            ratio = min(times["evalplus"]) / min(times["ours"])
            below = below or ratio < FLOOR
            print(f"ratio {name} evalplus {ratio:.2f} floor {FLOOR}")
    sys.exit(1 if options.check and below else 0)


if __name__ == "__main__":
    main()
