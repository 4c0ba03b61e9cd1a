"""The thresholds of the file rules: one field per limit, and what each language has of its own by default."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from snowcoder.base import Config


class Limits(Config):
    """Thresholds for one language. None switches one off; a document is dropped beyond the limit, not at it.

    Lengths are in characters (code points), shares in 0..1. What each is compared with, and who proposed it, is
    in `rules_table`. Defaults are StarCoder2's (arXiv 2402.19173, section 2.1); where it has none, the rule is off.
    """

    max_line: int | None = 1000
    """Longest line."""
    max_mean_line: float | None = 100
    """Mean line length."""
    min_mean_line: float | None = None
    """Mean line length."""
    max_lines: int | None = 100_000
    """Lines in the file."""
    min_lines: int | None = None
    """Lines in the file."""
    max_data_lines: int | None = None
    """Lines in a file of data (Text, JSON, YAML, ...), of which `max_lines` would let megabytes through."""
    max_bytes: int | None = None
    """Bytes in the source."""
    min_characters: int | None = None
    """Smallest file."""
    max_characters: int | None = None
    """Largest file."""
    min_alphanumeric: float | None = 0.25
    """Share of letters and digits (The Stack v1 and Codex)."""
    min_alphabetic: float | None = 0.25
    """Share of letters."""
    min_letters: float | None = None
    """Share of letters in what is not white space."""
    max_digits: float | None = None
    """Share of digits in what is not white space."""
    max_white_space: float | None = None
    """Share of white space."""
    min_white_space: float | None = None
    """Share of white space, of which minified code has hardly any."""
    max_encoded_run: int | None = 1024
    """Longest match of base64, hexadecimal or \\u-escaped data."""
    max_encoded_share: float | None = 0.5
    """Share of the file in such matches."""
    min_visible: int | None = None
    """Characters of markup that a reader would see."""
    min_visible_share: float | None = None
    """Share of the file that a reader would see."""
    max_dump: float | None = None
    """Share, in bytes, of SQL statements that write rows."""
    min_words: int | None = None
    """Words in the file."""
    min_mean_word: float | None = None
    """Characters per word."""
    max_mean_word: float | None = None
    """Characters per word."""
    max_hexadecimal: float | None = None
    """Share of words like 0x1F."""
    max_replacements: float | None = None
    """Share of U+FFFD."""
    max_duplicate_lines: float | None = None
    """Share of the lines, of those not blank, that occur again."""
    max_duplicate_5grams: float | None = None
    """Share of the characters of words in 5-grams that occur again; the next five are for longer ones."""
    max_duplicate_6grams: float | None = None
    max_duplicate_7grams: float | None = None
    max_duplicate_8grams: float | None = None
    max_duplicate_9grams: float | None = None
    max_duplicate_10grams: float | None = None
    max_top_2grams: float | None = None
    """Share of the characters of words in the most frequent 2-gram; the next two are for longer ones."""
    max_top_3grams: float | None = None
    max_top_4grams: float | None = None
    min_comments: float | None = None
    """Share of comments and documentation strings."""
    max_comments: float | None = None
    """Share of comments and documentation strings."""
    max_strings: float | None = None
    """Share of string literals in what is no comment."""
    max_long_strings: float | None = None
    """Lines of string literals with more than 20 words, per line of code."""
    max_prompts: float | None = None
    """Lines of comment with TODO, FIXME or 'your code here', per line."""
    max_assertions: float | None = None
    """Lines that assert, per line of code."""
    max_definitions: float | None = None
    """Lines that define a function, per line of code."""
    max_declarations: float | None = None
    """Lines that declare a function without a body, per line of code."""
    max_passes: float | None = None
    """Lines of `pass`, per line of code."""
    max_imports: float | None = None
    """Lines that import, per line of code."""
    max_prints: float | None = None
    """Lines that print, per line of code."""
    max_trivial_functions: float | None = None
    """Functions that do nothing (pass, a constant returned), per line of code."""
    max_no_logic: float | None = None
    """Share of the lines of code that only import, define, declare or return."""
    drop_no_logic: float = Field(default=1.0, ge=0, le=1)
    """Share of the files above `max_no_logic` that are dropped, drawn by the hash of their content."""
    max_preprocessor: float | None = None
    """Lines of the preprocessor, per line of code."""
    max_mains: int | None = None
    """Definitions of main."""
    min_assignments: int | None = None
    """Assignments and declarations of variables."""
    max_depth: int | None = None
    """Deepest nesting of brackets."""
    drop_tests: float | None = Field(default=None, ge=0, le=1)
    """Share of the files named like a test (`test_paths`) that are dropped, drawn by the hash of their content."""
    min_characters_per_token: float | None = None
    """Characters per token of `RulesConfig.tokenizer`, which must be set (SantaCoder: Python 2.5, Java 2.9,
    JavaScript 2.6)."""


# Long lines are normal in markup and data; only absurd ones are dropped (StarCoder2).
_LONG_LINES: dict[str, Any] = {"max_line": 100_000, "max_mean_line": None}
# DeepSeek-Coder (arXiv 2401.14196, section 2.1), which widens The Stack's 100-5000.
_SMALL_DATA: dict[str, Any] = {"min_characters": 50, "max_characters": 5000, "max_data_lines": 512}
# Instructions are short and operands are numbers (StarCoder2).
_NUMERIC: dict[str, Any] = {"min_alphabetic": None}

LANGUAGE_LIMITS: dict[str, dict[str, Any]] = {
    "HTML": {**_LONG_LINES, "min_visible": 100, "min_visible_share": 0.2},
    "JSON": {**_LONG_LINES, **_SMALL_DATA},
    "Markdown": _LONG_LINES,
    "Roff": _LONG_LINES,
    "Roff Manpage": _LONG_LINES,
    "SMT": _LONG_LINES,
    "TeX": _LONG_LINES,
    "Text": {**_LONG_LINES, "max_data_lines": 512},
    "XML": _LONG_LINES,
    "YAML": _SMALL_DATA,
    "Web Ontology Language": {"max_data_lines": 512},
    "Graphviz (DOT)": {"max_data_lines": 512},
    "Motorola 68K Assembly": _NUMERIC,
    "WebAssembly": _NUMERIC,
}
"""Differences from the defaults by language, under GitHub Linguist's names."""
