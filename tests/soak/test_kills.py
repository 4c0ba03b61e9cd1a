"""One live general phase, over thirty kills of all its parts: order and weights stay those of a quiet run."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.soak.killer import Command, Planned, run_with_kills, table
from train.audit import check, committed_order

STEPS, BATCH, SEQ = 512, 32, 256
EVERY = 5  # steps between checkpoints
KILLS = {
    "training worker": 8,
    "claim actor": 3,
    "deal actor": 4,
    "judge or pack task": 5,
    "index partition": 3,
    "split coordinator": 1,
    "train controller": 1,
    "driver": 4,
    "raylet": 3,
    "GCS": 1,
}
SEED = 5


def write_source(root: Path, size: int) -> None:
    """`size` bytes of Python packages that are installed here, each one a repository."""
    taken = 0
    for package in sorted(Path(sysconfig.get_paths()["purelib"]).iterdir()):
        files = list(package.rglob("*.py")) if (package / "__init__.py").exists() else []
        found = sum(file.stat().st_size for file in files)
        if not 50_000 < found < 8_000_000:
            continue
        for file in files:
            target = root / package.name / file.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        taken += found
        if taken >= size:
            return
    raise AssertionError(f"only {taken} bytes of packages are installed")


def recipe(directory: Path) -> Path:
    """Two workers, two index partitions, and an object store so small that the stream is not far ahead of training."""
    path = directory / "recipe.yaml"
    settings = {
        "ray": {"num_cpus": 6, "object_store_bytes": 80 << 20},
        "source": {"kind": "directory", "paths": [str(directory / "source")], "shard_bytes": 300_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 2, "expected_documents": 20_000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": SEQ, "interleave": 4, "deal_batches": 2},
        "train": {
            "model": {"layers": 2, "hidden": 64, "ffn": 128, "heads": 2, "context": SEQ},
            "num_workers": 2,
            "global_batch": BATCH,
            "micro_batch": 16,
            "checkpoint_every_steps": EVERY,
            "segment_steps": STEPS // 2 + 1,
            "max_failures": 8,  # kills may come before the first checkpoint of an attempt, several times in a row
            "collective_timeout_seconds": 60.0,
        },
        "general": {"tokens": STEPS * BATCH * SEQ, "epochs": 1, "schedule": {"warmup_tokens": 8192}},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def command(config: Path, out: Path, temporary: Path) -> Command:
    run = [
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
    return Command(run, out.with_suffix(".log"), {**os.environ, "TMPDIR": str(temporary)})


@pytest.fixture
def temporary() -> Iterator[Path]:
    """For the run's temporary files and Ray's sessions. Ray's sockets need a short path."""
    path = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def plan(rng: random.Random) -> list[Planned]:
    """Kinds in random order, spread over the steps; every fifth soon after the one before, mostly into its restart."""
    kinds = [kind for kind, count in KILLS.items() for _ in range(count) if kind != "index partition"]
    rng.shuffle(kinds)
    for _ in range(KILLS["index partition"]):  # later there may be no shard left that needs the index
        kinds.insert(rng.randrange(len(kinds) // 3), "index partition")
    share = (STEPS - 40) / len(kinds)
    return [
        Planned(kind, None, rng.uniform(0, 20))
        if number % 5 == 4
        else Planned(kind, int(share * number + rng.uniform(1, share)), rng.uniform(0, 2))
        for number, kind in enumerate(kinds)
    ]


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_thirty_kills_change_nothing(tmp_path: Path, temporary: Path) -> None:
    write_source(tmp_path / "source", 50_000_000)  # more than the stream is ever ahead: it judges to the end
    config = recipe(tmp_path)
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"

    undisturbed = command(config, quiet, temporary)
    try:
        run_with_kills(undisturbed, quiet / "train/general", [])
    finally:
        undisturbed.end()
    assert undisturbed.starts == 1, undisturbed.log.read_text()[-3000:]
    kill_and_compare(config, quiet, killed, temporary)


def kill_and_compare(config: Path, quiet: Path, killed: Path, temporary: Path) -> None:
    disturbed = command(config, killed, temporary)
    try:
        kills, progress = run_with_kills(disturbed, killed / "train/general", plan(random.Random(SEED)))
    finally:
        disturbed.end()
    repeated = progress.steps_run / STEPS - 1
    print(f"\n{table(kills)}")
    print(
        f"{len(kills)} kills, {progress.attempts} attempts, {disturbed.starts} starts of the command, "
        f"{progress.steps_run} steps run for {STEPS}: {repeated:.1%} repeated"
    )
    assert len(kills) >= 30
    assert {kill.kind for kill in kills} == set(KILLS)

    order = committed_order(killed, "general")
    assert check(order, BATCH, STEPS) == []
    assert order == committed_order(quiet, "general")
    assert read_losses(killed) == read_losses(quiet)
    models = [(run / "model/general/model.safetensors").read_bytes() for run in (quiet, killed)]
    assert models[0] == models[1]
    # A death costs at most what comes after the last commit; nothing is left behind by those that died.
    assert progress.steps_run - STEPS <= len(kills) * (2 * EVERY + 1)
    assert not list(temporary.glob("snowcoder-*"))


def read_losses(run: Path) -> list[float]:
    lines = (run / "train/general/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]
