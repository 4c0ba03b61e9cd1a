"""A phase as a Ray job: a head started with `ray start`, and `ray job submit` of the documented command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
import yaml

from tests.corpora import write_repositories

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head(tmp_path):
    """Address of the dashboard of a head of its own; ended with its process group, so that no other Ray is hit."""
    dashboard = free_port()
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    environment.pop("RAY_ADDRESS", None)
    environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,
    }  # heads take no strangers' jobs
    session = tempfile.mkdtemp(prefix="ray-")  # not tmp_path: its sockets' names would be too long
    arguments = [
        f"--port={free_port()}", f"--dashboard-port={dashboard}", "--num-cpus=4", "--object-store-memory=100000000",
        f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}",
        f"--metrics-export-port={free_port()}", f"--temp-dir={session}", "--block",
    ]  # fmt: skip
    with (tmp_path / "head.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "ray"), "start", "--head", *arguments],
            stdout=log, stderr=log, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:
                assert process.poll() is None, (tmp_path / "head.log").read_text()
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", dashboard)) == 0:
                        break
                time.sleep(0.5)
            yield f"http://127.0.0.1:{dashboard}", environment
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
            shutil.rmtree(session, ignore_errors=True)


@pytest.mark.timeout(400)
def test_a_phase_runs_as_a_submitted_job(head, tmp_path):
    address, environment = head
    source = write_repositories(tmp_path / "source")
    recipe = {
        "source": {"kind": "directory", "paths": [str(source)], "shard_bytes": 200_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": 64, "interleave": 2, "deal_batches": 2},
        "train": {
            "model": {"layers": 1, "hidden": 64, "ffn": 128, "heads": 1, "context": 64},
            "num_workers": 2, "global_batch": 4, "micro_batch": 2, "checkpoint_every_steps": 10,
        },
        "general": {"tokens": 20 * 4 * 64, "epochs": 1, "schedule": {"warmup_tokens": 256}},
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    out = tmp_path / "run"
    command = ["job", "submit", "--address", address, "--working-dir", str(ROOT), "--"]
    command += ["snowcoder", "run", "general", "--config", str(path), "--out", str(out)]
    deadline = time.monotonic() + 90
    while True:
        found = subprocess.run(
            [str(BIN / "ray"), *command],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=300,
        )
        # A head answers before its agent does (ray#46731); a user would type the command again too.
        if "No available agent" not in found.stderr + found.stdout or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    assert "succeeded" in found.stdout + found.stderr
    summary = json.loads((out / "train" / "general" / "summary.json").read_text())
    assert summary["steps"] == 20
    assert (out / "model" / "general" / "model.safetensors").exists()
