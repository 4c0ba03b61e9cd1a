"""Programs and commands in the sandbox: how they end, what they see, and that nothing of them is left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evaluation.config import Limits
from evaluation.sandbox import tiers
from evaluation.sandbox.command import run_command
from evaluation.sandbox.process import Execution, run_program
from evaluation.sandbox.tiers import Tier, choose_tier
from snowcoder.base import UserError
from tests.evaluation.hostile import parametrize_tiers, processes_with

LIMITS = Limits(
    cpu_seconds=1, wall_seconds=60, memory_bytes=256 << 20, file_bytes=1 << 20, output_bytes=100_000
)


def run(*sources: str, tier: Tier, limits: Limits = LIMITS) -> Execution:
    return run_program(sources, limits, tier)


@parametrize_tiers()
def test_a_program_runs_to_its_end(tier: Tier) -> None:
    done = run("import sys\nx = 6", "print(x * 7)\nprint('why', file=sys.stderr)", tier=tier)
    assert (done.status, done.exit_code, done.stdout, done.stderr) == ("completed", 0, "42\n", "why\n")
    assert done.tier == tier


@parametrize_tiers()
def test_its_world_is_empty(tier: Tier) -> None:
    source = "import os, sys\nprint(sorted(os.environ), os.listdir(), sys.stdin.read(), __name__)"
    done = run(source, tier=tier)
    assert done.stdout == "['HOME', 'LANG', 'OMP_NUM_THREADS', 'PATH', 'TMPDIR'] []  candidate\n", done.stderr


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import sys; sys.exit(0)", "exited"),
        ("import os; os._exit(0)", "exited"),
        ("raise KeyError(1)", "exited"),
        ("x = '''", "exited"),
        ("x = '\ud800'", "exited"),
        ("input()", "exited"),
        ("import os; os.kill(os.getpid(), 9)", "signalled"),
        ("while True: pass", "cpu_limit"),
        ("while True: print('x' * 1000)", "output_limit"),
        ("import os; os.close(0); os.close(1); os.close(2); os._exit(0)", "exited"),
    ],
)
def test_what_does_not_reach_the_end_does_not_complete(source: str, status: str) -> None:
    done = run(source, "print('passed')", tier=choose_tier())
    assert done.status == status, done
    assert "passed" not in done.stdout


@parametrize_tiers()
def test_waiting_ends_at_the_wall_limit(tier: Tier) -> None:
    done = run("import time; time.sleep(60)", tier=tier, limits=Limits(wall_seconds=1))
    assert (done.status, done.exit_code) == ("wall_limit", -9)


def test_the_output_is_the_tail() -> None:
    done = run("for i in range(5000): print(i)", tier=choose_tier())
    assert done.status == "completed"
    assert done.stdout.endswith("4999\n")
    assert len(done.stdout) == 2000


@parametrize_tiers()
def test_a_command_runs_with_its_files(tier: Tier, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given")
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.owner() != "root" or folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)  # a command of the tier landlock is nobody, if we are root
    script = (
        f"cat folder/a.txt {tmp_path}/given; echo made > made; ln -s /etc/shadow link; echo why >&2; exit 3"
    )
    files = {"folder/a.txt": b"one \xff\n"}
    done = run_command(
        ["/bin/sh", "-c", script], files, LIMITS, tier, [tmp_path], collect=["made", "link", "absent"]
    )
    assert (done.status, done.exit_code, done.stdout, done.stderr) == (
        "exited",
        3,
        "one \ufffd\ngiven",
        "why\n",
    )
    assert done.files == {"made": b"made\n"}


@parametrize_tiers("bubblewrap", "namespaces")
def test_a_command_sees_nobody_and_is_nobody(tier: Tier) -> None:
    script = "id -u; ls /proc | grep -c '^[0-9]'; ls /tmp; ls /home /work 2>&1 | grep -c 'No such'"
    done = run_command(["/bin/sh", "-c", script], {}, LIMITS, tier)
    user, processes, *_ = done.stdout.split()
    assert user == "65534"
    assert int(processes) <= 5  # the keeper, the shell and this pipe


def test_a_command_that_is_not_there_says_so() -> None:
    done = run_command(["/no/such/program"], {}, LIMITS, choose_tier())
    assert (done.status, done.exit_code) == ("exited", 125)
    assert "No such file" in done.stderr


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x"])
def test_files_stay_in_their_folder(path: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        run_command(["true"], {path: b""}, LIMITS, choose_tier())


def test_everything_dies_with_the_evaluation() -> None:
    mark = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    program = (
        "from evaluation.config import Limits\n"
        "from evaluation.sandbox.command import run_command\n"
        "from evaluation.sandbox.tiers import choose_tier\n"
        f"run_command(['/bin/sh', '-c', 'sleep 600; : {mark}'], {{}}, Limits(wall_seconds=600), choose_tier())\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": scratch}
        evaluation = subprocess.Popen([sys.executable, "-c", program], env=environment)
        deadline = time.monotonic() + 120
        # Two: the evaluation's own command line holds the mark as well.
        while len(processes_with(mark)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(processes_with(mark)) >= 2
        evaluation.kill()
        evaluation.wait()
        while processes_with(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_with(mark) == []


def test_without_walls_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "works", lambda tier: False)
    with pytest.raises(UserError, match=r"neither bubblewrap nor user namespaces.*--unsafe"):
        choose_tier("auto")
    with pytest.raises(UserError, match="'namespaces' does not work on this host"):
        choose_tier("namespaces")
    assert choose_tier("unsafe") == "unsafe"
