"""`snowcoder submit` and a real head: stop with a checkpoint, go on, a driver that is killed, and no secret told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from snowcoder.base import UserError
from snowcoder.secret_files import VARIABLE, load_secrets
from snowcoder.submit import Submission
from tests.corpora import write_repositories
from tests.snowcoder.test_job import BIN, ROOT, head  # noqa: F401 - a fixture

SECRET = "not-to-be-told-4711"
STEPS = 600


def submission(tmp_path: Path, **changes: object) -> Submission:
    (tmp_path / "a.yaml").write_text("{}")
    given = {"config": tmp_path / "a.yaml", "run": "mine", "storage": "/shared", "working_dir": tmp_path}
    return Submission(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "../other"}, "--run"),
        ({"environment": ("WANDB_API_KEY=abc",)}, "use --secret WANDB_API_KEY=FILE"),
        ({"environment": ("A",)}, "NAME=VALUE"),
        ({"secrets": ("WANDB_API_KEY=abc",)}, "absolute path of a file"),
        ({"working_dir": Path("/nonexistent")}, "only /nonexistent is uploaded"),
        ({"overrides": ("no.such=1",)}, "no"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_uploaded(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as refused:
        submission(tmp_path, **changes).check()
    assert "abc" not in str(refused.value)


def test_names_travel_and_values_stay(tmp_path):
    asked = submission(tmp_path, secrets=("HIDDEN=/run/secrets/x",), overrides=("name=a b; rm -rf /",))
    asked.check()
    assert json.loads(asked.runtime_env()["env_vars"][VARIABLE]) == {"HIDDEN": "/run/secrets/x"}
    assert "--set 'name=a b; rm -rf /'" in asked.command("general")  # one word for the shell


def test_a_secret_is_read_from_its_file(tmp_path, monkeypatch):
    (tmp_path / "x").write_text(SECRET + "\n")
    monkeypatch.setenv(VARIABLE, json.dumps({"HIDDEN": str(tmp_path / "x")}))
    monkeypatch.delenv("HIDDEN", raising=False)
    load_secrets()
    assert os.environ.pop("HIDDEN") == SECRET
    monkeypatch.setenv(VARIABLE, json.dumps({"HIDDEN": str(tmp_path / "absent")}))
    with pytest.raises(UserError, match="for HIDDEN"):
        load_secrets()


# Tests that a shell has put in the background ignore SIGINT, and so would all that they start. Not by `preexec_fn`: its
# fork makes gRPC of a Ray session in this process stop and start, after which Ray's driver hears of no actor any more.
_INTERRUPTIBLE = (
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])",
)


class Submitted:
    """A `snowcoder submit` under way; its output is in a file, so that a failed test shows it. Killed at the end."""

    def __init__(self, command: list[str], environment: dict[str, str], told: Path):
        self.path = told
        with told.open("w") as file:
            self.process = subprocess.Popen(
                [*_INTERRUPTIBLE, *command], env=environment, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def told(self) -> str:
        return self.path.read_text()

    def __enter__(self) -> Submitted:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for_steps(self, run: Path, steps: int) -> None:
        deadline = time.monotonic() + 900
        path = run / "train/general/metrics.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < steps:
            assert self.process.poll() is None, self.told[-4000:]
            assert time.monotonic() < deadline, self.told[-4000:]
            time.sleep(0.2)

    def wait(self) -> int:
        try:
            return self.process.wait(900)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.told[-4000:]) from None


def driver_of(run: Path) -> psutil.Process:
    """The job's own process: python with `run general` and this run directory, not the shell around it."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "general" in words and str(run) in words:
            return process
    raise AssertionError("no driver")


@pytest.mark.timeout(1800)
def test_a_run_is_stopped_goes_on_and_outlives_its_driver(head, tmp_path):  # noqa: F811
    address, environment = head
    work = tmp_path / "work"
    work.mkdir()
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    (work / "left.key").write_text(SECRET)  # junk that must not be uploaded
    recipe = {
        "source": {
            "kind": "directory", "paths": [str(write_repositories(tmp_path / "source"))], "shard_bytes": 2_000_000,
        },
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": 64, "interleave": 2, "deal_batches": 2},
        "train": {
            "model": {"layers": 1, "hidden": 64, "ffn": 128, "heads": 1, "context": 64},
            "num_workers": 1, "global_batch": 4, "micro_batch": 4, "checkpoint_every_steps": 1000,
        },
        "general": {"tokens": STEPS * 4 * 64, "epochs": 3, "schedule": {"warmup_tokens": 256}},
    }  # fmt: skip
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = tmp_path / "runs" / "mine"
    command = [
        str(BIN / "snowcoder"), "submit", "general", "--config", str(work / "recipe.yaml"), "--run", "mine",
        "--storage", str(run.parent), "--address", address, "--working-dir", str(work),
        "--secret", f"HIDDEN={secret}", "--env", f"PYTHONPATH={ROOT}", "--retries", "1",
    ]  # fmt: skip

    with Submitted(command, environment, tmp_path / "first.log") as first:
        first.wait_for_steps(run, 2)
        first.process.send_signal(signal.SIGINT)
        assert first.wait() == 143, first.told[-4000:]
    saved = json.loads((run / "train/general/pointer.json").read_text())["position"]
    assert 2 <= saved < STEPS, first.told[-4000:]
    assert f"step {saved} is saved" in first.told

    with Submitted(command, environment, tmp_path / "second.log") as second:
        second.wait_for_steps(run, saved + 1)
        driver_of(run).kill()
        assert second.wait() == 0, second.told[-4000:]
    assert "starting it again" in second.told
    summary = json.loads((run / "train/general/summary.json").read_text())
    assert summary["steps"] == STEPS
    for text in (first.told, second.told, *(p.read_text() for p in run.rglob("*.y*ml"))):
        assert SECRET not in text
    ask = f"from ray.job_submission import *; print(JobSubmissionClient({address!r}).list_jobs())"
    jobs = subprocess.run(
        [sys.executable, "-c", ask],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "HIDDEN" in jobs
    assert SECRET not in jobs
