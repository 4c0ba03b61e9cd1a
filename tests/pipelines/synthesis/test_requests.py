from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import SamplingConfig, SynthesisConfig
from pipelines.synthesis.requests import REQUEST, RESPONSE, SEED, Plan
from snowcoder.base import UserError

CODE = "\n".join(f"def function_{i}(argument):\n    return argument * {i}" for i in range(30))
CONFIG = SynthesisConfig(recipes=("rewrite", "problem_file"), samples=2, chunk_requests=5)


def seeds(ids, text=CODE):
    return pa.table({"seed": ids, "lang": ["Python"] * len(ids), "text": [text] * len(ids)}).cast(SEED)


def planned(tables, config=CONFIG):
    return [row for chunk in ledger.plan_requests(tables, config) for row in chunk.to_pylist()]


def test_order_is_seed_recipe_sample_and_chunks_are_full():
    chunks = list(ledger.plan_requests([seeds([3, 4]), seeds([1 << 40])], CONFIG))
    assert [chunk.num_rows for chunk in chunks] == [5, 5, 2]
    assert all(chunk.schema == REQUEST for chunk in chunks)
    rows = [row for chunk in chunks for row in chunk.to_pylist()]
    assert [row["ordinal"] for row in rows] == list(range(12))
    triples = [(row["seed"], row["recipe"], row["sample"]) for row in rows]
    assert triples == list(itertools.product([3, 4, 1 << 40], ["problem_file", "rewrite"], [0, 1]))


def test_the_plan_does_not_depend_on_how_seeds_are_batched():
    assert planned([seeds([1, 2, 3])]) == planned([seeds([1]), seeds([2]), seeds([3])])


def test_every_request_has_its_own_sampling_seed_and_they_follow_the_root_seed():
    rows = planned([seeds(list(range(50)))])
    drawn = [json.loads(row["sampling"])["seed"] for row in rows]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**31 for seed in drawn)
    other = planned([seeds(list(range(50)))], CONFIG.model_copy(update={"seed": 1}))
    assert all(a["sampling"] != b["sampling"] for a, b in zip(rows, other, strict=True))


def test_a_seed_without_a_snippet_is_a_row_with_an_error():
    rows = planned([seeds([1], text="}\n}")])
    assert [row["error"] for row in rows] == ["no_snippet"] * 4
    assert all(row["snippet"] is None and row["prompt_hash"] == "" for row in rows)


def test_seeds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="must ascend"):
        planned([seeds([2, 1])])


def test_a_second_plan_reads_the_first_and_leaves_the_seeds_alone(tmp_path):
    def unread():
        raise AssertionError("the seeds were read again")
        yield

    first = Plan.write([seeds([1, 2])], CONFIG, tmp_path, "selection-1")
    assert Plan.write(unread(), CONFIG, tmp_path, "selection-1") == first
    assert (first.chunks, first.requests) == (2, 8)
    assert first.load(1).num_rows == 3


@pytest.mark.parametrize(
    ("change", "key"),
    [({"sampling": SamplingConfig(temperature=0.1)}, "a"), ({"recipes": ("rewrite",)}, "a"), ({}, "b")],
)
def test_another_plan_in_the_same_place_is_refused(tmp_path, change, key):
    Plan.write([seeds([1])], CONFIG, tmp_path, "a")
    with pytest.raises(UserError, match="use a new run directory"):
        Plan.write([seeds([1])], CONFIG.model_copy(update=change), tmp_path, key)


def test_engine_settings_are_no_part_of_the_plan(tmp_path):
    first = Plan.write([seeds([1])], CONFIG, tmp_path)
    faster = CONFIG.model_copy(update={"engine": CONFIG.engine.model_copy(update={"batch_size": 1})})
    assert Plan.write([], faster, tmp_path) == first


def test_a_chunk_key_names_its_questions(tmp_path):
    plan = Plan.write([seeds([1, 2])], CONFIG, tmp_path / "a")
    again = Plan.write([seeds([1, 2])], CONFIG, tmp_path / "b")
    other = Plan.write([seeds([1, 3])], CONFIG, tmp_path / "c")
    assert plan.key(0) == again.key(0)
    assert plan.key(0) != plan.key(1)
    assert plan.key(1) != other.key(1)


def test_answers_are_joined_by_ordinal_and_survive_the_disk(tmp_path):
    [questions] = ledger.plan_requests([seeds([7])], CONFIG)
    answers = {
        ordinal: {
            "prompt_tokens": 5,
            "output_tokens": ordinal,
            "finish": "stop",
            "text": f"t{ordinal}",
            "error": None,
        }
        for ordinal in reversed(questions["ordinal"].to_pylist())
    }
    answers[2] |= {"finish": None, "text": None, "error": "inference: ValueError"}
    table = ledger.responses(questions, answers, "package:m", "abc")
    assert table.schema == RESPONSE
    assert table["text"].to_pylist() == ["t0", "t1", None, "t3"]
    assert table["prompt_hash"] == questions["prompt_hash"]
    ledger.commit_chunk(tmp_path, 0, table, "key")
    assert ledger.read_chunk(tmp_path, 0) == table
    assert ledger.committed_chunks(tmp_path) == {0: "key"}


def test_leftovers_of_a_killed_writer_are_no_chunks(tmp_path):
    (tmp_path / ".00000000.parquet.77.tmp").write_bytes(b"half a chu")
    assert ledger.committed_chunks(tmp_path) == {}
    assert list(ledger.read_ledger(tmp_path)) == []
    with pytest.raises(UserError, match="never committed"):
        ledger.read_chunk(tmp_path, 0)


WRITER = """
import random, sys
from pathlib import Path
import pyarrow as pa
from pipelines.synthesis import requests as ledger
directory, noise = Path(sys.argv[1]), random.randbytes(4_000_000).hex()
for chunk in range(10_000):
    if chunk in ledger.committed_chunks(directory):
        continue
    table = pa.table({"chunk": [chunk] * 2, "text": [f"{chunk} {noise}", sys.argv[2]]})
    ledger.commit_chunk(directory, chunk, table, f"key-{chunk}")
"""


def test_a_killed_writer_leaves_whole_chunks_and_its_successor_repeats_none(tmp_path):
    for life in ("first", "second"):
        before = ledger.committed_chunks(tmp_path)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), life], env={**os.environ})
        deadline = time.monotonic() + 60
        while len(ledger.committed_chunks(tmp_path)) < len(before) + 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        after = ledger.committed_chunks(tmp_path)
        assert list(after) == list(range(len(after)))
        assert len(after) >= len(before) + 4
        for chunk, key in after.items():
            first, last = ledger.read_chunk(tmp_path, chunk).to_pylist()
            assert key == f"key-{chunk}"
            assert first["text"].startswith(f"{chunk} ")
            assert last["text"] == ("first" if chunk in before or life == "first" else "second")
