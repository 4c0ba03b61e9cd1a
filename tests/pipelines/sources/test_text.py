from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.schema import DOCUMENT
from pipelines.sources import text
from pipelines.sources.text import Documents, printable, to_text

BLOBS = st.one_of(
    st.none(),
    st.binary(max_size=8),
    st.text(max_size=8).map(str.encode),
    st.binary(max_size=2).map(lambda rest: b"\xef\xbb\xbf" + rest),
)


@given(st.lists(BLOBS, max_size=40))
def test_text_is_what_python_decodes_without_its_mark(blobs: list[bytes | None]) -> None:
    got, invalid = to_text(pa.array(blobs, pa.large_binary()))
    expected: list[str | None] = []
    for blob in blobs:
        try:
            expected.append(None if blob is None else blob.decode().removeprefix("\ufeff"))
        except UnicodeDecodeError:
            expected.append(None)
    got.validate(full=True)
    assert got.to_pylist() == expected
    bad = [
        i
        for i, (blob, value) in enumerate(zip(blobs, expected, strict=True))
        if blob is not None and value is None
    ]
    assert invalid.tolist() == bad


def test_documents_are_numbered_across_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "TABLE_BYTES", 10)
    documents = Documents()
    tables: list[pa.Table] = []
    contents = [b"", b"12345", b"\xff\xfe", None, b"12345", b"a\0b", b"\xef\xbb\xbfx"]
    for index, content in enumerate(contents):
        fault = "too_large" if content is None else None
        tables += documents.add(content, path=f"{index}.py", size=len(content or b"") or 99, fault=fault)
    tables += documents.finish()
    assert len(tables) == 2
    assert all(table.schema == DOCUMENT for table in tables)
    table = pa.concat_tables(tables)
    assert table["row"].to_pylist() == list(range(7))
    assert table["text"].to_pylist() == ["", "12345", None, None, "12345", "a\0b", "x"]
    assert table["fault"].to_pylist() == [None, None, "invalid_utf8", "too_large", None, None, None]
    assert table["size"].to_pylist()[-1] == 4
    assert list(documents.finish()) == []


def test_names_that_are_not_unicode_become_printable() -> None:
    assert printable(b"a\xff.py") == "a\ufffd.py"
    assert printable("a\udcff.py") == "a\ufffd.py"
    assert printable("é.py") == "é.py"
