"""Judge BigCodeBench: its unittest module runs beside the candidate, in the sandbox, in an environment of its own.

What makes a pass: every published test (counted in the test's source, outside) has run once and succeeded,
every canary came out as it must, the suite came to its end, and the overseer signed that with a nonce which
the candidate's process never has. docs/evaluation.md says what remains possible.
"""

from __future__ import annotations

import functools
import json
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.benchmarks import Task
from evaluation.beside.canaries import Armed, arm
from evaluation.config import EvaluationConfig
from evaluation.judging.each import judge_each
from evaluation.judging.outcome import Verdict
from evaluation.sandbox.command import Execution, run_command
from evaluation.sandbox.tiers import Tier, choose_tier
from snowcoder.base import UserError

_HERE = Path(__file__).parent
_PROBE = """
import json, sys
from pathlib import Path
found = {"prefixes": sorted({sys.prefix, sys.base_prefix}), "version": sys.version.split()[0], "fonts": []}
try:
    import matplotlib
    import matplotlib.font_manager
    found["fonts"] = [str(path) for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json")]
except ImportError:
    pass
print(json.dumps(found))
"""
ENVIRONMENT = {
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "matplotlib",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The limit counts CPU seconds: spinning threads would spend them.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
}


def evaluate_unittests(
    tasks: Sequence[Task], samples: Sequence[Sequence[str]], cfg: EvaluationConfig
) -> tuple[list[Verdict], Tier]:
    """Verdicts in the order of tasks and samples. UserError: no environment configured, or no sandbox."""
    tier = choose_tier(cfg.sandbox)
    python = libraries(cfg.bigcodebench_python)

    def one(task: Task, number: int, text: str) -> Verdict:
        return judge_one(task, number, text, cfg, python, tier)

    return judge_each(tasks, samples, one, cfg.workers), tier


class Libraries:
    """A Python with the benchmark's libraries, and what the sandbox must show of the disk for it."""

    def __init__(self, python: Path) -> None:
        self.python = python
        try:
            done = subprocess.run(
                [str(python), "-I", "-c", _PROBE], capture_output=True, text=True, timeout=300, check=True
            )
            found = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise UserError(
                f"bigcodebench_python: {python} does not run ({error}): make the environment as docs/evaluation.md says"
            ) from None
        if any(prefix.startswith("/tmp/") for prefix in found["prefixes"]):
            raise UserError(
                f"bigcodebench_python: {python}: programs have a /tmp of their own; make it elsewhere"
            )
        self.version: str = found["version"]
        self.readable = tuple(Path(prefix) for prefix in found["prefixes"])
        # Without the cache, matplotlib looks at every font of the host in every run.
        self.fonts = {f"matplotlib/{Path(path).name}": Path(path).read_bytes() for path in found["fonts"]}


def libraries(python: Path | None) -> Libraries:
    """UserError when none is configured."""
    if python is None:
        raise UserError(
            "bigcodebench: set bigcodebench_python to the Python of an environment with "
            "requirements/bigcodebench.in (docs/evaluation.md has the command)"
        )
    return _libraries(python)


@functools.lru_cache(4)
def _libraries(python: Path) -> Libraries:
    return Libraries(python)


def judge_one(
    task: Task, number: int, sample: str, cfg: EvaluationConfig, python: Libraries, tier: Tier
) -> Verdict:
    """One candidate against its task's tests."""
    armed, nonce = arm(task.test), secrets.token_hex(16)
    secret = {
        "nonce": nonce,
        "expected": armed.expected,
        "entry_point": task.entry_point,
        "cpu_seconds": cfg.unittest_limits.cpu_seconds,
    }
    files = {
        "overseer.py": _source("overseer.py"),
        "inside.py": _source("inside.py"),
        "secret.json": json.dumps(secret).encode(),
        "candidate.py": task.program(sample).encode("utf-8", "surrogateescape"),
        "tests.py": armed.source.encode("utf-8", "surrogateescape"),
        **python.fonts,
    }
    argv = [str(python.python), "-I", "-S", "-B", "overseer.py"]
    run = run_command(argv, files, cfg.unittest_limits, tier, python.readable, environment=ENVIRONMENT)
    outcome = signed(run.stdout, nonce)
    reason, detail = verdict_on(outcome, run, armed)
    return Verdict(
        task=task.task_id,
        sample=number,
        passed=reason == "passed",
        reason=reason,
        cpu_seconds=outcome["cpu_seconds"] if outcome else run.cpu_seconds,
        stderr="" if reason == "passed" else (detail or run.stderr[-2000:]),
    )


def signed(stdout: str, nonce: str) -> dict[str, Any] | None:
    """The overseer's outcome; None where no line carries its nonce."""
    for line in reversed(stdout.splitlines()):
        if line.startswith(nonce + " "):
            return json.loads(line[len(nonce) + 1 :])
    return None


def verdict_on(outcome: dict[str, Any] | None, run: Execution, armed: Armed) -> tuple[str, str]:
    """(reason, detail). "tampered": the outcomes cannot be an honest process's."""
    if outcome is None:
        return (run.status if run.status not in ("completed", "exited") else "exited_early"), ""
    seen: dict[str, str] = outcome["seen"]
    detail: str = outcome["detail"]
    if outcome["cpu_limit"]:
        return "cpu_limit", detail
    if outcome["fault"].startswith("fixture"):
        return "error:fixture", outcome["fault"]
    if outcome["fault"]:
        return "tampered", outcome["fault"]
    bad = [test for test in armed.tests if seen.get(test, "success") != "success"]
    if any(seen[test] == "skipped" for test in bad):
        return "skipped", detail
    if bad:
        return "failed", detail
    if not outcome["ended"]:
        return ("signalled" if outcome["exit_code"] < 0 else "exited_early"), ""
    if missing := [test for test in armed.expected if test not in seen]:
        return "exited_early", f"{len(missing)} of {len(armed.expected)} tests did not run"
    # A canary may also end in an error: it shares fixtures and files with the test that it was copied from.
    canaries = {test: right for test, right in armed.expected.items() if test not in armed.tests}
    if wrong := [test for test, right in canaries.items() if seen[test] not in (right, "error")]:
        return "tampered", f"a canary came out wrong: {wrong[0]} {seen[wrong[0]]}"
    return "passed", ""


@functools.cache
def _source(name: str) -> bytes:
    return (_HERE / name).read_bytes()
