"""Agreement with Pygments on real code: the solutions and tests of HumanEval-X, five languages."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, String

from pipelines.kernels.lexical import byte_classes, language_numbers
from pipelines.kernels.text import text_buffers

HUMANEVAL_X = Path(__file__).parents[4] / "shared" / "data" / "benchmarks" / "humaneval-x"
DOCUMENTS = 40


def by_pygments(lexer: str, text: str) -> np.ndarray:
    """1 for a comment, 2 for a string, 0 for the rest; of each character. The preprocessor is code."""
    out = np.zeros(len(text), np.uint8)
    for start, token, value in get_lexer_by_name(lexer).get_tokens_unprocessed(text):
        preprocessor = token in Comment.Preproc or token is Comment.PreprocFile
        if (token in Comment and not preprocessor) or token in String.Doc:
            out[start : start + len(value)] = 1
        elif token in String:
            out[start : start + len(value)] = 2
    return out


@pytest.mark.skipif(not HUMANEVAL_X.exists(), reason="HumanEval-X is not beside the project")
@pytest.mark.parametrize(
    ("name", "lang", "floor"),
    # Pygments splits template literals at ${...}, which we keep whole, and "x.h" of an #include is no string to it.
    [
        ("cpp", "C++", 0.999),
        ("go", "Go", 1.0),
        ("java", "Java", 1.0),
        ("js", "JavaScript", 0.999),
        ("rust", "Rust", 1.0),
    ],
)
def test_agrees_with_pygments(name: str, lang: str, floor: float) -> None:
    with gzip.open(HUMANEVAL_X / f"humaneval_{name}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(DOCUMENTS), strict=False)]
    texts = [row["prompt"] + row["canonical_solution"] + row["test"] for row in rows]
    view = next(iter(text_buffers(pa.array(texts, pa.large_string()))))
    agreed = total = comments = 0
    for text, found in zip(
        texts, byte_classes(view, language_numbers(pa.array([lang] * len(texts)))), strict=True
    ):
        ours = found[(np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80]
        visible = np.array([not character.isspace() for character in text])
        theirs = by_pygments(name, text)
        assert ((ours == 1) == (theirs == 1))[visible].all(), text
        agreed += (ours == theirs)[visible].sum()
        comments += (ours == 1).sum()
        total += visible.sum()
    assert comments > 1000
    assert agreed / total >= floor
