from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import SamplingConfig
from pipelines.synthesis.requests import RESPONSE, Question, question_tables
from snowcoder.base import UserError


def test_answers_are_joined_by_ordinal_and_survive_the_disk(tmp_path):
    asked = (Question(seed, "r", "Python", [{"role": "user", "content": "?"}]) for seed in range(4))
    [questions] = question_tables(asked, SamplingConfig(), 0, 9)
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
    table = ledger.responses(questions, answers, "package:m", "1.0", "abc")
    assert table.schema == RESPONSE
    assert table["revision"].to_pylist() == ["1.0"] * 4
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
