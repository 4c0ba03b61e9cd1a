"""A process that waits for ever ends, and leaves what it was waiting for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from train.leaving import SHORT
from train.watchdog import EXIT_CODE, stalled

PROGRAM = """
import sys, time
from pathlib import Path
from train.watchdog import Watchdog

def wait_for_ever():
    time.sleep(600)

watchdog = Watchdog(Path(sys.argv[1]), rank=3, position=0, seconds=float(sys.argv[2]), when_short=1.5)
watchdog.start()
for step in range(5):
    time.sleep(0.1)
    watchdog.stepped(step + 1)
if len(sys.argv) > 3:
    watchdog.over.set()
    time.sleep(2 * float(sys.argv[2]))
else:
    wait_for_ever()
"""


def run(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], timeout=60, check=False).returncode


def test_no_step_ends_the_process(tmp_path: Path) -> None:
    assert run(str(tmp_path), "1.5") == EXIT_CODE
    (left,) = stalled(tmp_path)
    text = left.read_text()
    assert re.match(r"rank 3: no step for \d s after step 5\n", text)
    assert "in wait_for_ever" in text


def test_a_short_cluster_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / SHORT).touch()
    assert run(str(tmp_path), "600") == EXIT_CODE
    assert "after step 5; the cluster is short" in stalled(tmp_path)[0].read_text()


def test_a_worker_that_is_done_may_take_its_time(tmp_path: Path) -> None:
    assert run(str(tmp_path), "1.5", "done") == 0
    assert stalled(tmp_path) == []
