from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.stages.verdicts import encode, encode_codes, judge_each
from tests.pipelines.stages.documents import documents


def judge(docs: pa.Table) -> pa.Table:
    """Raises for a table with "bad" in it, as a kernel does that meets what it cannot take."""
    if pc.any(pc.equal(docs["text"], "bad")).as_py():
        raise OverflowError("bad")
    if pc.any(pc.equal(docs["text"], "huge")).as_py():
        raise MemoryError
    return pa.table({"row": docs["row"], "reason": encode([None] * docs.num_rows)})


def failed(docs: pa.Table, reason: str) -> pa.Table:
    return pa.table({"row": docs["row"], "reason": encode([reason] * docs.num_rows)})


@pytest.mark.parametrize("bad", [[0], [4], [9], [0, 1, 2], [1, 5, 6, 9]])
def test_only_the_culprits_are_rejected(bad: list[int]) -> None:
    docs = documents(["bad" if row in bad else "good" for row in range(10)])
    verdicts = judge_each(docs, judge, failed)
    assert verdicts["row"].to_pylist() == list(range(100, 110))
    wanted = ["error:OverflowError" if row in bad else None for row in range(10)]
    assert verdicts["reason"].to_pylist() == wanted


def test_a_single_document_that_fails_is_a_verdict() -> None:
    assert judge_each(documents(["bad"]), judge, failed)["reason"].to_pylist() == ["error:OverflowError"]


def test_an_error_in_every_document_is_the_stage_s() -> None:
    with pytest.raises(OverflowError):
        judge_each(documents(["bad"] * 8), judge, failed)


def test_out_of_memory_is_raised() -> None:
    with pytest.raises(MemoryError):
        judge_each(documents(["good", "huge"]), judge, failed)
    with pytest.raises(MemoryError):
        judge_each(documents(["bad", "huge"]), judge, failed)


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="DOCUMENT"):
        judge_each(documents(["good"]).drop_columns(["path"]), judge, failed)


def test_codes() -> None:
    encoded = encode_codes(np.array([2, -1, 0, 2]), ["a", "b", "c"])
    assert encoded.to_pylist() == ["c", None, "a", "c"]
    assert encoded.dictionary.to_pylist() == ["a", "c"]
    assert encode_codes(np.array([-1, -1]), ["a"]).to_pylist() == [None, None]
