"""The classes of a text's characters, for the tests of the lexer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.kernels.lexical import LexicalStats, byte_classes, language_numbers, lexical_stats
from pipelines.kernels.text import text_buffers

CODE, COMMENT, STRING, DOCSTRING = range(4)


def stats(texts: list[str | None], langs: list[str | None]) -> LexicalStats:
    return lexical_stats(pa.array(texts, pa.large_string()), pa.array(langs, pa.string()))


def classes(text: str, lang: str) -> np.ndarray:
    """The class of each character."""
    view = next(iter(text_buffers(pa.array([text], pa.large_string()))))
    found = next(iter(byte_classes(view, language_numbers(pa.array([lang])))))
    return found[(np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80]
