"""Run BigCodeBench's own solutions and list those that do not pass here: `python -m evaluation.beside.references`.

    python -m evaluation.beside.references --python ENV/bin/python --out references.json [--only-common] [--data DIR]

It goes on where it was stopped. `--only-common` takes the tasks that need no library but numpy, pandas,
matplotlib, scikit-learn, scipy and seaborn, by the benchmark's own list.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from evaluation.benchmarks import BENCHMARKS
from evaluation.benchmarks.files import read
from evaluation.beside.bigcodebench import libraries
from evaluation.config import EvaluationConfig
from evaluation.verdicts import judge
from snowcoder.files import write_atomically

COMMON = {"numpy", "pandas", "matplotlib", "sklearn", "scipy", "seaborn"}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints each failing task with its cause, and last `passed/total`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", type=Path, required=True, help="Python with the benchmark's libraries")
    parser.add_argument("--out", type=Path, required=True, help="JSON; verdicts so far lie beside it")
    parser.add_argument("--data", type=Path, help="folder with the benchmarks' files")
    parser.add_argument("--only-common", action="store_true")
    parser.add_argument("--tasks", type=int, help="the first so many")
    given = parser.parse_args(arguments)
    cfg = EvaluationConfig(bigcodebench_python=given.python, data_dir=given.data)
    known = BENCHMARKS["bigcodebench"]
    rows = [json.loads(line) for line in read(known.file, given.data).splitlines()]
    needs = {row["task_id"]: third_party(row["libs"]) for row in rows}
    tasks = [
        task
        for task in known.parse("bigcodebench", rows)
        if not given.only_common or needs[task.task_id] <= COMMON
    ][: given.tasks]
    solutions = [[task.canonical_solution] for task in tasks]
    judged = judge(tasks, solutions, cfg, given.out.with_suffix(".verdicts.jsonl"))
    verdicts = [row[0] for row in judged.verdicts]
    failing = [
        {
            "task": verdict.task,
            "reason": verdict.reason,
            "cause": cause(verdict.stderr),
            "common": needs[verdict.task] <= COMMON,
            "libraries": sorted(needs[verdict.task]),
        }
        for verdict in verdicts
        if not verdict.passed
    ]
    found = {
        "python": libraries(given.python).version,
        "sandbox": list(judged.tiers),
        "passed": len(verdicts) - len(failing),
        "total": len(verdicts),
        "common_total": sum(needs[verdict.task] <= COMMON for verdict in verdicts),
        "common_passed": sum(needs[verdict.task] <= COMMON for verdict in verdicts if verdict.passed),
        "reasons": dict(Counter(verdict.reason for verdict in verdicts).most_common()),
        "failing": failing,
    }
    write_atomically(given.out, json.dumps(found, indent=1))
    for one in failing:
        print(f"{one['task']} {one['reason']}: {one['cause']}")
    print(f"common libraries: {found['common_passed']}/{found['common_total']}")
    print(f"references: {found['passed']}/{found['total']}")
    return found


def cause(output: str) -> str:
    """The line of a traceback that says what was wrong: the last error, or what was not found."""
    lines = [line.strip() for line in output.splitlines() if any(letter.isalpha() for letter in line)]
    telling = [line for line in lines if re.search(r"\w(Error|Exception)\b|not found|denied|Resource ", line)]
    return (telling or lines or [""])[-1][:300]


def third_party(libs: str | list[str]) -> set[str]:
    """The published list of a task's modules without the standard library's."""
    names = ast.literal_eval(libs) if isinstance(libs, str) else libs
    return set(names) - sys.stdlib_module_names


if __name__ == "__main__":
    main()
