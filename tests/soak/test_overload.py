"""The same verdicts on an idle machine and under four busy processes a core, slow programs included."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.evaluation import ours, samples
from evaluation.benchmarks.inputs import load_inputs

pytestmark = pytest.mark.soak
DATA = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
# Of one CPU second an input may take at the least: what passes with some time to spare, and what never ends.
WAITS = {
    "a third of a second": "while time.process_time() - begun < 0.3: pass",
    "for ever": "while True: pass",
}


def slowed(reference: str, entry_point: str, wait: str) -> str:
    """The reference, with the first of its calls held up: a benchmark has hundreds of inputs."""
    return (
        f"{reference}\n\nimport time\n_right, _first = {entry_point}, iter(range(10))\n\n"
        f"def {entry_point}(*values):\n    begun = time.process_time()\n"
        f"    if next(_first, None) is not None:\n        {wait}\n    return _right(*values)\n"
    )


@contextmanager
def overload() -> Iterator[None]:
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not here")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "every"), [("humaneval+", 2), ("mbpp+", 4)])
def test_the_score_does_not_move_with_the_load(name: str, every: int) -> None:
    given = samples(name, DATA, every=every, count=4)
    inputs = load_inputs(name, DATA)
    for place in range(0, len(given.tasks), 12):
        known = inputs[given.tasks[place].task_id]
        given.programs[place] += [slowed(known.reference, known.entry_point, wait) for wait in WAITS.values()]
    ours(given, DATA)  # the expected outputs, and their times on this node
    idle, idle_reasons, idle_seconds = ours(given, DATA)
    with overload():
        busy, busy_reasons, busy_seconds = ours(given, DATA)
    reasons = Counter(reason.split()[0] for reason in idle_reasons)
    print(
        f"\n{name}: {sum(idle)} of {len(idle)} pass; idle {idle_seconds:.0f} s, busy {busy_seconds:.0f} s; {reasons}"
    )
    different = [
        (row["task_id"], calm, loaded)
        for row, a, b, calm, loaded in zip(given.rows, idle, busy, idle_reasons, busy_reasons, strict=True)
        if a != b
    ]
    assert different == []
