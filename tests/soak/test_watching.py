"""What looking at a run costs it, and how long the page lets one wait while the machine is busy with the run."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from snowcoder.metrics import EVERY, samples
from snowcoder.watch_state import RunState
from tests.corpora import write_repositories
from tests.snowcoder.test_job import BIN, ROOT, free_port, head  # noqa: F401 - a fixture
from tests.snowcoder.test_submit import Submitted

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
STEPS, BATCH, SEQ = 1500, 8, 256
LOOKS = 20


def ask(url: str) -> tuple[float, bytes]:
    begun = time.perf_counter()
    with urllib.request.urlopen(url, timeout=30) as answer:
        body = answer.read()
    return time.perf_counter() - begun, body


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def test_page_and_scrapes_cost_next_to_nothing(head, tmp_path: Path) -> None:  # noqa: F811
    address, environment = head
    work = tmp_path / "work"
    work.mkdir()
    recipe = {
        "source": {
            "kind": "directory", "paths": [str(write_repositories(tmp_path / "source"))], "shard_bytes": 200_000,
        },
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
        "tokenizer": {"vocab_size": 700, "sample_bytes": 100_000},
        "sequences": {"seq_len": SEQ, "interleave": 2, "deal_batches": 2},
        "train": {
            "model": {"layers": 2, "hidden": 128, "ffn": 256, "heads": 2, "context": SEQ},
            "num_workers": 1, "global_batch": BATCH, "micro_batch": BATCH, "checkpoint_every_steps": 200,
        },
        "general": {"tokens": STEPS * BATCH * SEQ, "epochs": 40, "schedule": {"warmup_tokens": 4096}},
    }  # fmt: skip
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run, port = tmp_path / "runs" / "mine", free_port()
    command = [
        str(BIN / "snowcoder"), "submit", "general", "--config", str(work / "recipe.yaml"), "--run", "mine",
        "--storage", str(run.parent), "--address", address, "--working-dir", str(work), "--env", f"PYTHONPATH={ROOT}",
    ]  # fmt: skip
    waits: dict[str, list[float]] = {"/": [], "/state": []}
    with Submitted(command, environment, tmp_path / "submitted.log") as job:
        job.wait_for_steps(run, 5)
        watch = [sys.executable, "-m", "snowcoder.cli", "watch", str(run), "--port", str(port)]
        page = subprocess.Popen(watch, stdout=subprocess.DEVNULL, env=environment)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    ask(f"http://127.0.0.1:{port}/state")
                    break
                except OSError:
                    time.sleep(0.5)
            begun, before = time.monotonic(), spent(psutil.Process(page.pid))
            while job.process.poll() is None:
                for path, found in waits.items():
                    found.append(ask(f"http://127.0.0.1:{port}{path}")[0])
                time.sleep(0.5)
            seconds, page_cpu = time.monotonic() - begun, spent(psutil.Process(page.pid)) - before
        finally:
            page.kill()
            page.wait()
        assert job.process.returncode == 0, job.told[-4000:]

    for path, found in waits.items():
        worst = statistics.quantiles(found, n=100)[98]
        print(
            f"\n{path}: {len(found)} answers, median {1e3 * statistics.median(found):.1f} ms, 99 % {1e3 * worst:.1f} ms"
        )
        assert worst < 0.1, path
    print(f"page: {page_cpu:.2f} s of processor time in {seconds:.0f} s, {page_cpu / seconds:.2%}")
    assert page_cpu / seconds < 0.01

    state = RunState(run)
    state.look()  # the first reads everything; a run's exporter sees its files grow
    begun = time.process_time()
    for _ in range(LOOKS):
        told = sum(1 for _ in samples(state.look()))
    look = (time.process_time() - begun) / LOOKS
    ours = psutil.Process()
    [raylet] = [p for p in ours.children(recursive=True) if p.name() == "raylet"]
    scraped = int(re.search(r"--metrics_export_port=(\d+)", " ".join(raylet.cmdline()))[1])  # type: ignore[index]
    agents = raylet.children(recursive=True)
    before = sum(spent(agent) for agent in agents)
    begun = time.monotonic()
    idle = 5.0
    time.sleep(idle)
    idle_share = (sum(spent(agent) for agent in agents) - before) / (time.monotonic() - begun)
    before, begun = sum(spent(agent) for agent in agents), time.monotonic()
    sizes = [len(ask(f"http://127.0.0.1:{scraped}/metrics")[1]) for _ in range(LOOKS)]
    scrape = sum(spent(agent) for agent in agents) - before - idle_share * (time.monotonic() - begun)
    scrape /= LOOKS
    print(
        f"a look {1e3 * look:.1f} ms for {told} figures, a scrape {1e3 * scrape:.1f} ms for {sizes[-1] >> 10} KiB; "
        f"every {EVERY:.0f} s: {(look + scrape) / EVERY:.3%} of the run's time"
    )
    assert (look + scrape) / EVERY < 0.01
