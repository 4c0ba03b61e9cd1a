"""The file rules as data: what is measured, in which group, and which rule compares it with which limit.

`judge_rules`, `rejudge`, the configuration's hash and docs/rules.md all read these tables; nothing about a rule
is said elsewhere. Sources are given by name; docs/rules.md says what the names stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["characters", "markup", "words", "repetition", "lexical", "dump", "draw", "tokens"]
"""What is measured in one pass over a document's text, or not at all."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number kept in the verdict, float32. Shares are of all characters (code points) unless it says otherwise."""

    name: str
    group: Group
    meaning: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """Rule `rule` is hit where `measure` is above ("max") or below ("min") the field `limit` of Limits.

    Where `draw` names a field of Limits, only that share of such documents is hit: those whose draw is below it.
    """

    rule: str
    measure: str
    side: Literal["min", "max"]
    limit: str
    draw: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to drop a document. Without thresholds it is a fact that needs the text, the path or the reader."""

    name: str
    meaning: str
    sources: str
    thresholds: tuple[Threshold, ...] = ()


def _above(rule: str, measure: str, meaning: str, sources: str, limit: str = "", draw: str = "") -> Rule:
    threshold = Threshold(rule, measure, "max", limit or f"max_{measure}", draw)
    return Rule(rule, meaning, sources, (threshold,))


def _below(rule: str, measure: str, meaning: str, sources: str, limit: str = "") -> Rule:
    return Rule(rule, meaning, sources, (Threshold(rule, measure, "min", limit or f"min_{measure}"),))


def _either(first: Rule, second: Rule) -> Rule:
    return Rule(first.name, first.meaning, first.sources, first.thresholds + second.thresholds)


def _ngrams(word: str, lengths: range) -> list[Measure]:
    meaning = {
        "top": "Share of the characters of words in the most frequent {n}-gram of words, if it repeats",
        "duplicate": "Share of the characters of words in {n}-grams of words that occur more than once",
    }[word]
    return [Measure(f"{word}_{n}grams", "repetition", meaning.format(n=n)) for n in lengths]


MEASURE_TABLE = (
    Measure("characters", "characters", "Characters"),
    Measure("lines", "characters", "Lines"),
    Measure("longest_line", "characters", "Characters of the longest line"),
    Measure("mean_line", "characters", "Characters per line"),
    Measure("alphanumeric", "characters", "Share of letters and digits, of any script"),
    Measure("alphabetic", "characters", "Share of letters, of any script"),
    Measure("letters", "characters", "Share of letters among what is not white space"),
    Measure(
        "digits", "characters", "Share of digits (alphanumeric, no letter) among what is not white space"
    ),
    Measure("white_space", "characters", "Share of ASCII white space"),
    Measure(
        "encoded_run", "characters", "Characters of the longest match of base64, hexadecimal or \\u data"
    ),
    Measure("encoded", "characters", "Share of such matches"),
    Measure("visible", "markup", "Characters of markup that a reader sees"),
    Measure("visible_share", "markup", "Share of them"),
    Measure("words", "words", "Words: runs of letters and digits"),
    Measure("mean_word", "words", "Characters per word"),
    Measure("hexadecimal", "words", "Share of words like 0x1F"),
    Measure("replacements", "words", "Share of U+FFFD, which a decoder leaves where it lost a character"),
    Measure("duplicate_lines", "repetition", "Share of lines, of those not blank, whose like occurs again"),
    *_ngrams("duplicate", range(5, 11)),
    *_ngrams("top", range(2, 5)),
    Measure("comments", "lexical", "Share of comments and documentation strings"),
    Measure("strings", "lexical", "Share of string literals in what is no comment"),
    Measure("long_strings", "lexical", "Lines of string literals with more than 20 words, per line of code"),
    Measure("prompts", "lexical", "Lines of comment with TODO, FIXME or 'your code here', per line"),
    Measure("assertions", "lexical", "Lines that assert, per line of code"),
    Measure("definitions", "lexical", "Lines that define a function, per line of code"),
    Measure("declarations", "lexical", "Lines that declare a function without a body, per line of code"),
    Measure("passes", "lexical", "Lines of `pass`, per line of code"),
    Measure("imports", "lexical", "Lines that import, per line of code"),
    Measure("prints", "lexical", "Lines that print, per line of code"),
    Measure(
        "trivial_functions",
        "lexical",
        "Functions that do nothing (pass, a constant returned), per line of code",
    ),
    Measure(
        "no_logic", "lexical", "Share of lines of code without logic: they import, define, declare or return"
    ),
    Measure("preprocessor", "lexical", "Lines of the preprocessor, per line of code"),
    Measure("mains", "lexical", "Definitions of main"),
    Measure("assignments", "lexical", "Assignments and declarations of variables"),
    Measure("depth", "lexical", "Deepest nesting of brackets"),
    Measure("dump", "dump", "Share, in bytes, of SQL statements that write rows"),
    Measure("draw", "draw", "A number in [0, 1) drawn by the hash of the content"),
    Measure("test_draw", "draw", "The same, of files that their path calls a test; else null"),
    Measure("characters_per_token", "tokens", "Characters per token of the configured tokenizer"),
)
"""All measures, in the order of the verdict's columns."""

RULE_TABLE = (
    Rule("error", "The reader or a rule failed on it; the reason is `error:<what>`.", "ours"),
    Rule("unknown_language", "The language is not known.", "The Stack"),
    Rule("empty", "Nothing but white space.", "ours"),
    Rule(
        "generated",
        "The first lines say that a program wrote the file, or its name, first lines or last line are those by "
        "which go-enry's `is_generated` knows such files.",
        "StarCoder2; go-enry",
    ),
    Rule("xml_header", "XML by its first characters, another language by name.", "The Stack; OpenCoder"),
    Rule("text_name", "Prose (language Text) not named like a README or a list of requirements.", "StarCoder2"),
    _above("large_file", "size", "Too many bytes.", "OpenCoder", "max_bytes"),
    _above("long_line", "longest_line", "A line is too long.", "The Stack; StarCoder2; OpenCoder", "max_line"),
    _above("long_mean_line", "mean_line", "Lines are too long.", "The Stack; StarCoder2; OpenCoder"),
    _below("short_mean_line", "mean_line", "Lines are too short.", "OpenCoder"),
    _above("many_lines", "lines", "Too many lines.", "StarCoder2; OpenCoder"),
    _below("few_lines", "lines", "Too few lines.", "OpenCoder"),
    _above("data_lines", "lines", "Too many lines of data.", "StarCoder2; OpenCoder", "max_data_lines"),
    _below("few_characters", "characters", "Too small.", "StarCoder; DeepSeek-Coder; OpenCoder"),
    _above("many_characters", "characters", "Too large.", "StarCoder; DeepSeek-Coder; pull requests of StarCoder2"),
    _below("low_alphanumeric", "alphanumeric", "Too few letters and digits.", "The Stack; StarCoder2"),
    _below("low_alphabetic", "alphabetic", "Too few letters.", "StarCoder; StarCoder2; DeepSeek-Coder"),
    _below("few_letters", "letters", "Too few letters in what is not white space.", "OpenCoder"),
    _above("many_digits", "digits", "Too many digits in what is not white space.", "OpenCoder"),
    _above("white_space", "white_space", "Mostly white space.", "OpenCoder"),
    _below("minified", "white_space", "Hardly any white space: made small for a browser, not written.", "ours"),
    _either(
        _above(
            "encoded_data",
            "encoded_run",
            "Data in base64, hexadecimal or \\u escapes: a long run of it, or much of the file.",
            "StarCoder2; OpenCoder",
        ),
        _above("encoded_data", "encoded", "", "", "max_encoded_share"),
    ),
    _either(
        _below("hidden_text", "visible", "Markup with little to read.", "StarCoder(2); DeepSeek-Coder; OpenCoder"),
        _below("hidden_text", "visible_share", "", ""),
    ),
    _above("sql_dump", "dump", "Mostly rows of a database dump.", "ours"),
    _below("few_words", "words", "Too few words.", "OpenCoder"),
    _below("short_words", "mean_word", "Words are too short.", "OpenCoder"),
    _above("long_words", "mean_word", "Words are too long.", "OpenCoder"),
    _above("hexadecimal_words", "hexadecimal", "Mostly hexadecimal numbers.", "OpenCoder; pull requests of StarCoder2"),
    _above("replacement_characters", "replacements", "Decoded wrongly: characters are lost.", "OpenCoder"),
    _above("duplicate_lines", "duplicate_lines", "Most lines are copies of each other.", "OpenCoder"),
    *(
        _above(f"duplicate_{n}grams", f"duplicate_{n}grams", f"Mostly repeated {n}-grams.", "OpenCoder, after Gopher")
        for n in range(5, 11)
    ),
    *(
        _above(f"top_{n}grams", f"top_{n}grams", f"Much is one {n}-gram of words.", "OpenCoder, after Gopher")
        for n in range(2, 5)
    ),
    _below("few_comments", "comments", "Hardly any comment.", "SantaCoder, as an option"),
    _above("many_comments", "comments", "Mostly comment.", "SantaCoder, as an option; OpenCoder"),
    _above("many_strings", "strings", "Mostly string literals.", "OpenCoder"),
    _above("long_strings", "long_strings", "Many lines of prose in string literals.", "OpenCoder"),
    _above("prompts", "prompts", "Unfinished: comments say what is to be done.", "OpenCoder"),
    _above("assertions", "assertions", "Mostly assertions.", "OpenCoder"),
    _either(
        _above("definitions", "definitions", "Heads of functions, with little in them.", "OpenCoder"),
        _above("definitions", "declarations", "", ""),
    ),
    _above("passes", "passes", "Stubs: much `pass`.", "OpenCoder"),
    _above("imports", "imports", "Mostly imports.", "OpenCoder"),
    _above("prints", "prints", "Mostly printing.", "OpenCoder"),
    _above("trivial_functions", "trivial_functions", "Many functions that do nothing.", "OpenCoder"),
    _above("no_logic", "no_logic", "Imports, heads, declarations, returns.", "OpenCoder", draw="drop_no_logic"),
    _above("preprocessor", "preprocessor", "Mostly lines of the preprocessor.", "OpenCoder"),
    _above("many_mains", "mains", "More than one main: programs run together.", "OpenCoder"),
    _below("no_variables", "assignments", "Nothing is ever assigned.", "OpenCoder"),
    _above("deep_nesting", "depth", "Brackets nest deeper than people write.", "ours"),
    _below("test_file", "test_draw", "A test, by its path.", "OpenCoder", "drop_tests"),
    _below("dense_tokens", "characters_per_token", "Text strange to the tokenizer.", "SantaCoder, as an option"),
)  # fmt: skip
"""All rules in order: a rule's place is its bit in `hits`, and the first that is hit is the reason."""

RULES = tuple(rule.name for rule in RULE_TABLE)
MEASURES = tuple(measure.name for measure in MEASURE_TABLE)
THRESHOLDS = tuple(threshold for rule in RULE_TABLE for threshold in rule.thresholds)

GROUP_OF = {measure.name: measure.group for measure in MEASURE_TABLE} | {"size": "characters"}
"""Measure -> group. `size`, the bytes in the source, is a column of the verdict already."""

ALWAYS: frozenset[Group] = frozenset({"characters"})
"""Groups measured for every document: the facts need them, and they cost next to nothing."""
