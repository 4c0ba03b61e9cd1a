"""Programs that cheat, eat, hang or flee. None may complete, and nothing of them may be left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evaluation.config import Limits
from evaluation.sandbox.process import Execution, Tier, choose_tier, run_program
from snowcoder.base import UserError

LIMITS = Limits(
    cpu_seconds=1, wall_seconds=30, memory_bytes=256 << 20, file_bytes=1 << 20, output_bytes=100_000
)
TIERS: list[Tier] = ["process"] if choose_tier() == "process" else ["namespaces", "process"]


def run(*sources: str, tier: Tier, limits: Limits = LIMITS) -> Execution:
    return run_program(sources, limits, tier)


def processes_with(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # ended while we looked
            if mark.encode() in command:
                found.append(f"{entry.name}: {command!r}")
    return found


@pytest.mark.parametrize("tier", TIERS)
def test_a_program_runs_to_its_end(tier: Tier) -> None:
    done = run("import sys\nx = 6", "print(x * 7)\nprint('why', file=sys.stderr)", tier=tier)
    assert (done.status, done.exit_code, done.stdout, done.stderr) == ("completed", 0, "42\n", "why\n")
    assert done.tier == tier


@pytest.mark.parametrize("tier", TIERS)
def test_its_world_is_empty(tier: Tier) -> None:
    source = "import os, sys\nprint(list(os.environ), os.listdir(), sys.stdin.read(), __name__)"
    assert run(source, tier=tier).stdout.split() in (
        ["[]", "[]", "candidate"],
        ["['LC_CTYPE']", "[]", "candidate"],
    )


@pytest.mark.parametrize(
    ("source", "status", "exit_code"),
    [
        ("import sys; sys.exit(0)", "exited", 0),
        ("import os; os._exit(0)", "exited", 0),
        ("raise SystemExit", "exited", 0),
        ("import sys; sys.exit('no')", "exited", 1),
        ("raise KeyError(1)", "exited", 1),
        ("x = '''", "exited", 1),
        ("\0", "exited", 1),
        ("x = '\ud800'", "exited", 1),
        ("input()", "exited", 1),
        ("x = [0] * (1 << 28)", "exited", 1),
        ("def f(): f()\nf()", "exited", 1),
        ("open('big', 'wb').write(bytes(2 << 20))", "exited", 1),
        ("files = [open('/dev/null') for _ in range(100)]", "exited", 1),
        ("import os; os.kill(os.getpid(), 9)", "signalled", -9),
        ("while True: pass", "cpu_limit", -9),
        ("import signal; signal.signal(signal.SIGXCPU, lambda *a: 0)\nwhile True: pass", "cpu_limit", -9),
        ("while True: print('x' * 1000)", "output_limit", -9),
        ("import os; os.close(0); os.close(1); os.close(2); os._exit(0)", "exited", 0),
    ],
)
def test_what_does_not_reach_the_end_does_not_complete(source: str, status: str, exit_code: int) -> None:
    done = run(source, "print('passed')", tier=TIERS[0])
    assert done.status != "completed"
    assert "passed" not in done.stdout
    assert (done.status, done.exit_code) == (status, exit_code), done.stderr


@pytest.mark.parametrize("tier", TIERS)
def test_waiting_ends_at_the_wall_limit(tier: Tier) -> None:
    done = run("import time; time.sleep(60)", tier=tier, limits=Limits(wall_seconds=1))
    assert (done.status, done.exit_code) == ("wall_limit", -9)
    assert 1 <= done.wall_seconds < 20


def test_the_output_is_the_tail() -> None:
    done = run("for i in range(5000): print(i)", tier=TIERS[0])
    assert done.status == "completed"
    assert done.stdout.endswith("4999\n")
    assert len(done.stdout) == 2000


FLEEING = """
import ctypes, os, sys
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG: do not die with the parent
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "{mark}"])
        os._exit(0)
{end}
"""


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("end", "status"),
    [("", "completed"), ("import time; time.sleep(60)", "wall_limit"), ("os._exit(3)", "exited")],
)
def test_nothing_that_flees_survives(tier: Tier, end: str, status: str) -> None:
    mark = f"fled-{os.getpid()}-{time.monotonic_ns()}"
    folders = set(Path(tempfile.gettempdir()).glob("candidate-*"))
    done = run(FLEEING.format(mark=mark, end=end), tier=tier, limits=Limits(cpu_seconds=1, wall_seconds=1))
    assert done.status == status
    assert processes_with(mark) == []
    assert set(Path(tempfile.gettempdir()).glob("candidate-*")) <= folders


def test_a_candidate_dies_with_the_evaluation() -> None:
    mark = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    program = (
        "from evaluation.config import Limits\n"
        "from evaluation.sandbox.process import run_program\n"
        f'source = \'import os, sys; os.execv(sys.executable, [sys.executable, "-c", '
        f'"import time; time.sleep(600)", "{mark}"])\'\n'
        f"run_program([source], Limits(), {TIERS[-1]!r})\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": scratch}
        evaluation = subprocess.Popen([sys.executable, "-c", program], env=environment)
        deadline = time.monotonic() + 20
        # Two: the evaluation's own command line holds the mark as well.
        while len(processes_with(mark)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(processes_with(mark)) == 2
        evaluation.kill()
        evaluation.wait()
        while processes_with(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_with(mark) == []


@pytest.mark.skipif("namespaces" not in TIERS, reason="this host allows no user namespaces")
def test_namespaces_have_no_network_and_see_nobody() -> None:
    source = "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=1)"
    assert "Network is unreachable" in run(source, tier="namespaces").stderr
    seen = run("import os\nprint([p for p in os.listdir('/proc') if p.isdigit()])", tier="namespaces").stdout
    assert seen == "['1', '2']\n"


def test_namespaces_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from evaluation.sandbox import process

    process._unshare.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        assert choose_tier("auto") == "process"
        with pytest.raises(UserError, match="no user namespaces"):
            choose_tier("namespaces")
    finally:
        process._unshare.cache_clear()
