"""Judge MultiPL-E (arXiv 2208.08227): program and tests are compiled together and run in the sandbox.

A candidate passes if the tests exit with 0 and the sabotaged tests (`evaluation.beside.sabotage`) do not.
"""

from __future__ import annotations

import random
import re
import secrets
import signal
from collections.abc import Sequence

from evaluation.benchmarks import Solution, Task
from evaluation.beside.sabotage import sabotage
from evaluation.beside.toolchains import NOT_COMPILED, toolchain
from evaluation.config import EvaluationConfig
from evaluation.judging.each import judge_each
from evaluation.judging.outcome import Verdict
from evaluation.sandbox.command import Execution, run_command
from evaluation.sandbox.tiers import Tier, choose_tier

DETAIL = 2000


def evaluate_programs(
    tasks: Sequence[Task], samples: Sequence[Sequence[str]], cfg: EvaluationConfig
) -> tuple[list[Verdict], Tier]:
    """Verdicts in the order of tasks and samples. UserError: a toolchain or the sandbox is missing."""
    tier = choose_tier(cfg.sandbox)
    for language in {task.language for task in tasks}:
        toolchain(language)  # says at once what is missing

    def one(task: Task, number: int, text: str) -> Verdict:
        return judge_one(task, number, text, cfg, tier)

    return judge_each(tasks, samples, one, cfg.workers), tier


def judge_one(task: Task, number: int, sample: str, cfg: EvaluationConfig, tier: Tier) -> Verdict:
    """One candidate: the tests, and if it passes them the sabotaged ones."""
    run = _run(task, sample, task.test, cfg, tier)
    reason, detail = _reason(run)
    if reason == "passed":
        rng = random.Random(secrets.randbits(64))
        wrong = _run(task, sample, sabotage(task.test, task.language, rng), cfg, tier)
        if wrong.exit_code == NOT_COMPILED:  # the other expectation is of another type
            wrong = _run(task, sample, sabotage(task.test, task.language, rng, plain=True), cfg, tier)
        if wrong.status == "exited" and wrong.exit_code == 0:
            reason, detail = "tampered", "passes wrong tests as well"
        elif wrong.status in ("wall_limit", "cpu_limit"):
            reason, detail = wrong.status, "on the sabotaged tests"
    return Verdict(
        task=task.task_id,
        sample=number,
        passed=reason == "passed",
        reason=reason,
        cpu_seconds=run.cpu_seconds,
        stderr=detail,
    )


def assemble(task: Task, sample: str, test: str) -> str:
    """One source file. Tests that begin with the function's closing bracket get a whole program without it."""
    program = task.program(sample)
    if isinstance(sample, Solution) and test.lstrip().startswith("}"):
        program = re.sub(r"\}\s*\Z" if task.language != "Java" else r"\}\s*\}\s*\Z", "", program.rstrip())
    return f"{program}\n{test}"


def _run(task: Task, sample: str, test: str, cfg: EvaluationConfig, tier: Tier) -> Execution:
    tools = toolchain(task.language)
    limits = cfg.program_limits
    if tools.heap:
        limits = limits.model_copy(update={"memory_bytes": None})
    files = {tools.file: assemble(task, sample, test).encode("utf-8", "surrogateescape")}
    return run_command(
        ["/bin/sh", "-c", tools.script], files, limits, tier, tools.readable, environment=tools.environment
    )


def _reason(run: Execution) -> tuple[str, str]:
    output = (run.stderr or run.stdout)[-DETAIL:]
    if run.status == "signalled" and run.exit_code == -signal.SIGABRT:
        return "failed", output  # C's assert
    if run.status != "exited":
        return run.status, output
    if run.exit_code == 0:
        return "passed", ""
    return ("error:compile" if run.exit_code == NOT_COMPILED else "failed"), output
