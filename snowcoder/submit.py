"""Phases as Ray jobs: submit, follow, stop with a checkpoint, start again when the driver died.

A run is its name: `STORAGE/RUN` is its directory on the cluster, so a phase that is submitted again goes on where the
last job was, and the next phase finds the model of the one before.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snowcoder.base import UserError
from snowcoder.config import load_config
from snowcoder.progress import say
from snowcoder.secret_files import VARIABLE

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

# What a working directory may hold and a job does not need; patterns as in .gitignore.
EXCLUDES = [
    "/.git/", "/.venv*/", "/.hypothesis/", "/.benchmarks/", ".*_cache/", "__pycache__/", "/runs/", "/site/", "/dist/",
    "/build/", "*.egg-info/", "*.parquet", "*.safetensors", "*.arrow", "*.jsonl*", ".env*", "*.pem", "*.key",
]  # fmt: skip
PHASES = ("general", "continued", "enhanced")
STOP_SECONDS = 600
"""How long a stopped job may take to save before it is killed."""
PATIENCE = 90.0
"""Seconds to wait for a head whose agent is not up yet, and between losing and finding a head again."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """What is asked, as typed. `environment` and `secrets` are NAME=VALUE and NAME=FILE."""

    config: Path
    run: str
    storage: str
    working_dir: Path
    overrides: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UserError for what can be seen from here, before anything is uploaded."""
        if not _NAME.fullmatch(self.run) or ".." in self.run:
            raise UserError(f"--run {self.run}: letters, digits, '-', '_' and '.', at most 64")
        load_config(self.config, self.overrides)
        if not self.config.resolve().is_relative_to(self.working_dir.resolve()):
            raise UserError(
                f"--config {self.config}: only {self.working_dir.resolve()} is uploaded; put the recipe in there, or "
                "name a --working-dir that has it"
            )
        for name in _pairs(self.environment, "--env"):
            if _SECRET.search(name):
                raise UserError(f"--env {name}: would be shown in the dashboard; use --secret {name}=FILE")
        for name, place in _pairs(self.secrets, "--secret").items():
            if not place.startswith("/"):
                raise UserError(
                    f"--secret {name}: give the absolute path of a file on the nodes, not the value"
                )

    def command(self, phase: str) -> str:
        """The entry point, as a shell reads it."""
        recipe = self.config.resolve().relative_to(self.working_dir.resolve())
        words = ["snowcoder", "run", phase, "--config", str(recipe), "--out", f"{self.storage}/{self.run}"]
        for override in self.overrides:
            words += ["--set", override]
        return shlex.join(words)

    def runtime_env(self) -> dict[str, Any]:
        """Names of secrets only: Ray stores this and shows it."""
        variables = {
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
            "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
        } | _pairs(self.environment, "--env")
        made: dict[str, Any] = {"working_dir": str(self.working_dir.resolve()), "excludes": EXCLUDES}
        if self.secrets:
            variables[VARIABLE] = json.dumps(_pairs(self.secrets, "--secret"))
            made["worker_process_setup_hook"] = "snowcoder.secret_files.load_secrets"
        return made | {"env_vars": variables}


def submit_all(asked: Submission, phases: Sequence[str], address: str, retries: int) -> int:
    """Run the phases one after the other; the exit code of the first that fails, else 0.

    Raises UserError when the recipe is wrong, the cluster cannot be reached or another job works on this run.
    """
    unknown = [phase for phase in phases if phase not in PHASES]
    if unknown:
        raise UserError(f"{unknown[0]}: not a phase; there are {', '.join(PHASES)}")
    asked.check()
    client = _client(address)
    for phase in phases:
        code = _phase(client, asked, phase, retries)
        if code != 0:
            return code
    return 0


def _phase(client: JobSubmissionClient, asked: Submission, phase: str, retries: int) -> int:
    _refuse_two(client, asked)
    for left in reversed(range(retries + 1)):
        job = _submit(client, asked, phase)
        say(f"{asked.run}: {phase} is job {job}")
        code = _follow_or_stop(client, job)
        # 2 is an error that the user must mend, and would come again.
        if code in (0, 2) or client.get_job_status(job) == "STOPPED":
            return code
        say(f"{asked.run}: the driver of {phase} ended with {code}" + (", starting it again" if left else ""))
    return code


def _follow_or_stop(client: JobSubmissionClient, job: str) -> int:
    try:
        return _follow(client, job)
    except KeyboardInterrupt:
        say(f"stopping {job}: it saves a checkpoint first; Ctrl-C again leaves it to do so alone")
        client.stop_job(job)
        return _follow(client, job, told=len(client.get_job_logs(job)))


def _follow(client: JobSubmissionClient, job: str, told: int = 0) -> int:
    """Print the job's log as it grows, past its first `told` characters, and return its exit code.

    A lost connection is taken up again where it broke off.
    """
    deadline = time.monotonic() + PATIENCE

    async def tail() -> None:
        nonlocal told, deadline
        seen = 0
        async for text in client.tail_job_logs(job):
            deadline = time.monotonic() + PATIENCE
            new = text[max(0, told - seen) :]
            seen += len(text)
            if new:
                print(new, end="", flush=True)
                told = max(told, seen)

    while True:
        try:
            asyncio.run(tail())
            info = client.get_job_info(job)
            if info.status.is_terminal():
                break
        except (RuntimeError, OSError) as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{job}: the cluster has not answered for {PATIENCE:.0f} s ({error}); the job goes on without you, "
                    "submit again once it can be reached"
                ) from error
        time.sleep(1.0)
    if info.status == "SUCCEEDED":
        return 0
    return info.driver_exit_code or (143 if info.status == "STOPPED" else 1)


def _submit(client: JobSubmissionClient, asked: Submission, phase: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return client.submit_job(
                entrypoint=asked.command(phase),
                submission_id=f"{asked.run}-{phase}-{time.time_ns() // 1_000_000:x}",
                runtime_env=asked.runtime_env(),
                metadata={"run": f"{asked.storage}/{asked.run}", "phase": phase},
            )
        except RuntimeError as error:
            # A head answers before its agent does (ray#46731).
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise UserError(
                    f"{phase}: the cluster took no job: {' '.join(str(error).split())[:300]}"
                ) from error
            time.sleep(2.0)


def _refuse_two(client: JobSubmissionClient, asked: Submission) -> None:
    here = f"{asked.storage}/{asked.run}"
    for job in client.list_jobs():
        if (job.metadata or {}).get("run") == here and not job.status.is_terminal():
            raise UserError(
                f"--run {asked.run}: job {job.submission_id} is working on it; wait, or `ray job stop` it"
            )


def _client(address: str) -> JobSubmissionClient:
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(
            f"--address {address}: no Ray dashboard answers ({' '.join(str(error).split())[:200]}); open it with "
            "`ray dashboard cluster.yaml` or `kubectl port-forward`, with RAY_AUTH_MODE=token and the token"
        ) from error


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UserError(
                f"{option} {name}: write it as NAME=VALUE" if equals else f"{option}: write it as NAME=VALUE"
            )
        found[name] = value
    return found
