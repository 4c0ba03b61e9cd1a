"""A hundred thousand blocks of the real stream through a real phase: no process of it grows.

Steps are as small as they can be (two rows of 16 tokens), so that it is blocks that are many: one per worker and step.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.soak.killer import Command, Progress
from tests.soak.test_kills import write_source

BLOCKS = 100_000
WORKERS, SEGMENTS, SEQ = 2, 5, 16
STEPS = BLOCKS // WORKERS
POINTS = 10
ROLES = {
    "driver": ("python",),
    "train controller": ("ray::TrainController",),
    "split coordinator": ("ray::SplitCoordinator",),
    "claim actor": ("ray::MapWorker(MapBatches(Claim))",),
    "deal actor": ("ray::MapWorker(MapBatches(Deal))",),
    "training workers": ("ray::RayTrainWorker",),
    "raylet": ("raylet",),
    "GCS": ("gcs_server",),
}
GROWTH = (
    100  # bytes a block that a role may grow by, over the run, once every segment begins with new processes
)
STATE = (
    6_000  # bytes a block inside a segment: Ray's coordinator keeps some 2.5 kB of each, as the design says
)


def recipe(directory: Path) -> Path:
    path = directory / "recipe.yaml"
    settings = {
        "ray": {"num_cpus": 6, "object_store_bytes": 80 << 20},
        "source": {"kind": "directory", "paths": [str(directory / "source")], "shard_bytes": 300_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 2, "expected_documents": 20_000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": SEQ, "interleave": 4, "deal_batches": 1},
        "train": {
            "model": {"layers": 1, "hidden": 16, "ffn": 16, "heads": 2, "context": SEQ},
            "num_workers": WORKERS,
            "global_batch": WORKERS,
            "micro_batch": 1,
            "checkpoint_every_steps": STEPS // SEGMENTS // 2,
            "segment_steps": STEPS // SEGMENTS,
        },
        "general": {"tokens": STEPS * WORKERS * SEQ, "epochs": 1, "schedule": {"warmup_tokens": 1024}},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def resident(command: Command) -> dict[str, int]:
    """Resident bytes by role: of the largest process where several have it."""
    found: dict[str, int] = {}
    for role in ROLES:
        victims = command.found(ROLES[role]) if role != "driver" else [command.driver]
        sizes = []
        for process in victims:
            try:
                sizes.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        if sizes:
            found[role] = max(sizes)
    return found


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_no_process_grows_with_the_blocks(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 10_000_000)
    config, out = recipe(tmp_path), tmp_path / "run"
    temporary = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))  # Ray's sockets need a short path
    arguments = [sys.executable, "-m", "snowcoder.cli", "run", "general"]
    arguments += ["--config", str(config), "--out", str(out)]
    command = Command(arguments, tmp_path / "run.log", {**os.environ, "TMPDIR": str(temporary)})
    samples: list[tuple[int, dict[str, int]]] = []  # (steps done, resident bytes by role)
    begun = 0.0
    try:
        progress = Progress(out / "train/general")
        while command.process.poll() is None:
            time.sleep(0.5)
            progress.look()
            begun = begun or (time.monotonic() if progress.done else 0.0)
            if (
                progress.attempt_has_stepped
                and progress.done >= (samples[-1][0] if samples else 0) + STEPS // 100
            ):
                samples.append((progress.done, resident(command)))
        seconds = time.monotonic() - begun
        assert command.process.returncode == 0, command.log.read_text()[-3000:]
    finally:
        command.end()
        shutil.rmtree(temporary, ignore_errors=True)

    print(f"\n{STEPS * WORKERS} blocks in {seconds:.0f} s, {SEGMENTS} segments\n{table(samples)}")
    segment = STEPS // SEGMENTS
    for role in ROLES:
        parts = [
            [(step, found[role]) for step, found in samples if step // segment == number and role in found]
            for number in range(SEGMENTS)
        ]
        if role == "claim actor":
            continue  # ends when every shard is judged
        assert all(parts), f"{role} was not seen in every segment"
        peaks = [max(size for _, size in part) for part in parts]
        # The first segment also judges the corpus and fills caches: it is the warm-up.
        slope = (peaks[-1] - peaks[1]) / ((SEGMENTS - 2) * segment * WORKERS)
        inside = []
        for part in parts[1:]:
            (first, small), (last, large) = part[len(part) // 5], part[-1]
            inside.append((large - small) / ((last - first) * WORKERS))
        print(
            f"{role}: peaks {[peak >> 20 for peak in peaks]} MiB, {slope:+.0f} bytes a block from segment to segment, "
            f"{max(inside):+.0f} at most inside one"
        )
        assert slope < GROWTH, f"{role} grows by {slope:.0f} bytes a block"
        assert max(inside) < STATE, f"{role} grows by {max(inside):.0f} bytes a block inside a segment"


def table(samples: list[tuple[int, dict[str, int]]]) -> str:
    """Markdown: resident MiB of each role at points through the run."""
    rows = [f"| blocks | {' | '.join(ROLES)} |", "|" + "---|" * (len(ROLES) + 1)]
    for point in range(1, POINTS + 1):
        step, found = min(samples, key=lambda sample: abs(sample[0] - point * STEPS / POINTS))
        sizes = [f"{found[role] / 2**20:.0f}" if role in found else "-" for role in ROLES]
        rows.append(f"| {step * WORKERS:,} | {' | '.join(sizes)} |")
    return "\n".join(rows)
