"""The driver of a live general phase is killed again and again; the order and the result stay those of a quiet run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.corpora import write_repositories
from train.audit import check, committed_order

STEPS, BATCH, SEQ = 120, 4, 64
KILLS = 4


def recipe(directory: Path) -> Path:
    path = directory / "recipe.yaml"
    settings = {
        "source": {"kind": "directory", "paths": [str(directory / "source")], "shard_bytes": 200_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": SEQ, "interleave": 2, "deal_batches": 2},
        "train": {
            "model": {"layers": 2, "hidden": 128, "ffn": 256, "heads": 2, "context": SEQ},
            "num_workers": 2,
            "global_batch": BATCH,
            "micro_batch": 2,
            "checkpoint_every_steps": 7,
        },
        "general": {"tokens": STEPS * BATCH * SEQ, "epochs": 1, "schedule": {"warmup_tokens": 1024}},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "snowcoder.cli",
        "run",
        "general",
        "--config",
        str(config),
        "--out",
        str(out),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def position(out: Path) -> int:
    path = out / "train" / "general" / "pointer.json"
    return json.loads(path.read_text())["position"] if path.exists() else 0


@pytest.mark.soak
def test_a_driver_killed_at_random_moments_changes_nothing(tmp_path):
    write_repositories(tmp_path / "source")
    config = recipe(tmp_path)
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    process = start(config, quiet)
    assert process.wait(600) == 0, process.stderr.read()[-3000:]

    rng = random.Random(11)
    kills = []
    while True:
        process = start(config, killed)
        if len(kills) == KILLS:
            assert process.wait(600) == 0, process.stderr.read()[-3000:]
            break
        begun = position(killed)
        deadline = time.monotonic() + 300
        while position(killed) <= begun and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(rng.uniform(0, 2))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills.append(position(killed))
        time.sleep(3)  # Ray's own processes notice that their driver is gone
    print(f"killed at committed positions {kills}")
    assert len(kills) >= 2

    order = committed_order(killed, "general")
    assert check(order, BATCH, STEPS) == []
    assert order == committed_order(quiet, "general")
    last = [
        json.loads((run / "train" / "general" / "summary.json").read_text())["last_loss"]
        for run in (quiet, killed)
    ]
    assert last[0] == last[1]
