"""Taking the measurements: each group of `rules_table` is one call of a kernel, for the languages that need it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.kernels.dumps import dumped_bytes
from pipelines.kernels.html import visible_characters
from pipelines.kernels.lexical import lexical_stats
from pipelines.kernels.line_stats import LineStats
from pipelines.kernels.murmur import exact_keys
from pipelines.kernels.repetition import DUPLICATE, TOP, repetition_stats
from pipelines.kernels.words import WordStats, word_stats
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_table import Group

Clock = dict[str, float]
"""Processor seconds by group."""

_HEADERS = r"\.(h|hpp|hxx|hh|h\+\+)$"  # C and C++: there, the preprocessor is what a file is for (OpenCoder)

_DRAWS = 1 << 24  # a draw is one of so many numbers: float32 holds each exactly


@contextmanager
def lap(clock: Clock | None, name: str) -> Iterator[None]:
    """Add the processor time of this thread within the block to `clock[name]`, if there is a clock."""
    start = time.thread_time()
    yield
    if clock is not None:
        clock[name] = clock.get(name, 0.0) + time.thread_time() - start


def measure(docs: pa.Table, stats: LineStats, cfg: RulesConfig, clock: Clock | None) -> dict[str, np.ndarray]:
    """Measure -> float64[n], NaN where the document's language needs no such measurement or has none.

    `stats` are those of `docs["text"]`. A group that no language needs gives no measure.
    """
    lang = docs["lang"].fill_null("").combine_chunks().dictionary_encode()
    names, codes = lang.dictionary.to_pylist(), lang.indices.to_numpy()
    needs = [cfg.groups_of(name) for name in names]

    def rows(group: Group) -> np.ndarray:
        return np.array([group in need for need in needs], bool)[codes] if names else np.zeros(0, bool)

    text = docs["text"]
    found = _characters(stats)
    if (wanted := rows("markup")).any():
        with lap(clock, "markup"):
            found |= _masked(_markup(text, stats, wanted), wanted)
    repetition = rows("repetition")
    words = rows("words")
    # Repetition counts words on its way: read nothing twice.
    if (wanted := words & ~repetition).any():
        with lap(clock, "words"):
            found |= _masked(_words(word_stats(text, wanted), stats), wanted)
    if repetition.any():
        with lap(clock, "repetition"):
            measured = _repetition(text, stats, repetition)
            for name, values in _masked(measured, repetition).items():
                found[name] = np.where(repetition, values, found.get(name, np.nan))
    if (wanted := rows("lexical")).any():
        with lap(clock, "lexical"):
            found |= _lexical(docs, stats, wanted)
    if (wanted := rows("dump")).any():
        with lap(clock, "dump"):
            shares = dumped_bytes(text, wanted) / np.maximum(stats.bytes, 1)
            found |= _masked({"dump": shares}, wanted)
    if (wanted := rows("draw")).any():
        with lap(clock, "draw"):
            found |= _masked(_draws(text, docs["path"], cfg.test_paths), wanted)
    if (wanted := rows("tokens")).any():
        with lap(clock, "tokens"):
            found |= _masked(_tokens(text, stats, cfg.tokenizer, wanted), wanted)
    return found


def _characters(stats: LineStats) -> dict[str, np.ndarray]:
    solid = np.maximum(stats.characters - stats.blanks, 1)
    return {
        "characters": stats.characters.astype(np.float64),
        "lines": stats.lines.astype(np.float64),
        "longest_line": stats.longest_line.astype(np.float64),
        "mean_line": stats.mean_line,
        "alphanumeric": stats.share(stats.alphanumerics),
        "alphabetic": stats.share(stats.letters),
        "letters": stats.letters / solid,
        "digits": (stats.alphanumerics - stats.letters) / solid,
        "white_space": stats.share(stats.blanks),
        "encoded_run": stats.longest_encoded.astype(np.float64),
        "encoded": np.minimum(stats.share(stats.encoded), 1),
    }


def _masked(measures: dict[str, np.ndarray], wanted: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.where(wanted, values, np.nan) for name, values in measures.items()}


def _markup(text: pa.ChunkedArray, stats: LineStats, wanted: np.ndarray) -> dict[str, np.ndarray]:
    visible = visible_characters(text, wanted).astype(np.float64)
    return {"visible": visible, "visible_share": stats.share(visible)}


def _words(words: WordStats, stats: LineStats) -> dict[str, np.ndarray]:
    return {
        "words": words.words.astype(np.float64),
        "mean_word": words.mean_word,
        "hexadecimal": stats.share(words.hexadecimal),
        "replacements": stats.share(words.replacements),
    }


def _repetition(text: pa.ChunkedArray, stats: LineStats, wanted: np.ndarray) -> dict[str, np.ndarray]:
    found = repetition_stats(text, wanted)
    compared = np.maximum(found.compared, 1)
    # Occurrences of the top n-gram may overlap, and then count more than the whole.
    top = np.minimum(found.top / compared[:, None], 1)
    duplicate = found.duplicate / compared[:, None]
    return {
        **_words(found.words, stats),
        "duplicate_lines": found.duplicate_lines / np.maximum(found.compared_lines, 1),
        **{f"duplicate_{n}grams": duplicate[:, column] for column, n in enumerate(DUPLICATE)},
        **{f"top_{n}grams": top[:, column] for column, n in enumerate(TOP)},
    }


def _lexical(docs: pa.Table, stats: LineStats, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """All null for a language that the lexer does not know."""
    lang = docs["lang"].fill_null("").combine_chunks()
    found = lexical_stats(docs["text"], pc.if_else(pa.array(wanted), lang, ""))
    headers = pc.match_substring_regex(docs["path"].fill_null(""), _HEADERS).to_numpy(zero_copy_only=False)
    comments = found.comment_characters  # with documentation strings
    code = np.maximum(found.code_lines, 1)
    measures = {
        "comments": stats.share(comments),
        "strings": found.string_characters / np.maximum(stats.characters - comments, 1),
        "long_strings": found.long_string_lines / code,
        "prompts": found.prompt_comment_lines / np.maximum(stats.lines, 1),
        "assertions": found.assert_lines / code,
        "definitions": found.def_lines / code,
        "declarations": found.declaration_lines / code,
        "passes": found.pass_lines / code,
        "imports": found.import_lines / code,
        "prints": found.print_lines / code,
        "trivial_functions": found.trivial_functions / code,
        "no_logic": 1 - found.logic_lines / code,
        "preprocessor": np.where(headers, np.nan, found.preprocessor_lines / code),
        "mains": found.main_definitions.astype(np.float64),
        "assignments": found.assignments.astype(np.float64),
        "depth": found.max_depth.astype(np.float64),
    }
    return _masked(measures, found.known & wanted)


def _draws(text: pa.ChunkedArray, path: pa.ChunkedArray, test_paths: str) -> dict[str, np.ndarray]:
    draw = (exact_keys(text)[:, 0] >> np.uint64(40)).astype(np.float64) / _DRAWS
    tests = pc.match_substring_regex(path.fill_null(""), test_paths).to_numpy(zero_copy_only=False)
    return {"draw": draw, "test_draw": np.where(tests, draw, np.nan)}


def _tokens(text: pa.ChunkedArray, stats: LineStats, path: str, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """By far the slowest group: a tokenizer reads a few MB a second."""
    tokens = np.full(len(wanted), np.nan)
    texts = text.filter(pa.array(wanted)).fill_null("").to_pylist()
    tokens[wanted] = [len(encoding) for encoding in _tokenizer(path).encode_batch_fast(texts)]
    return {"characters_per_token": stats.characters / np.maximum(tokens, 1)}


@cache
def _tokenizer(path: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)
