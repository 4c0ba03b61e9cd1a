"""The first stage: is this file code that a person wrote? Rules of The Stack, StarCoder2 and DeepSeek-Coder.

Every rule is judged for every document, so that the ledger can answer "what would this rule cost?"; the
*reason* is the first rule in the order of `RULES`. A rule either needs the text (its hit is a fact) or
compares a kept measurement with a threshold. Verdicts are taken from the measurements as stored, in float32,
so that judging again from the ledger gives the same verdicts as judging the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.kernels.excerpts import head
from pipelines.kernels.html import visible_characters
from pipelines.kernels.line_stats import line_stats
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.verdicts import REASON, encode, encode_codes, judge_each

RULES_VERSION = 1


@dataclass(frozen=True, slots=True)
class Threshold:
    """Rule `rule` is hit where `measure` is above ("max") or below ("min") the field `limit` of Limits."""

    rule: str
    measure: str
    side: Literal["min", "max"]
    limit: str


RULES = (
    "error",  # the reader's fault, or an exception while judging; the reason is "error:<fault or type>"
    "unknown_language",
    "empty",  # nothing but white space
    "generated",  # says so in its first lines, or has the name of a generated file
    "xml_header",  # XML under another language's extension
    "text_name",  # a file of prose that is not a README or the like
    "long_line",
    "long_mean_line",
    "many_lines",
    "low_alphanumeric",
    "low_alphabetic",
    "encoded_data",
    "data_size",
    "hidden_text",  # HTML with little to read
)
"""The rules in order; a rule's place is its bit in `hits`."""

THRESHOLDS = (
    Threshold("long_line", "longest_line", "max", "max_line"),
    Threshold("long_mean_line", "mean_line", "max", "max_mean_line"),
    Threshold("many_lines", "lines", "max", "max_lines"),
    Threshold("low_alphanumeric", "alphanumeric", "min", "min_alphanumeric"),
    Threshold("low_alphabetic", "alphabetic", "min", "min_alphabetic"),
    Threshold("encoded_data", "encoded_run", "max", "max_encoded_run"),
    Threshold("encoded_data", "encoded", "max", "max_encoded_share"),
    Threshold("data_size", "characters", "min", "min_characters"),
    Threshold("data_size", "characters", "max", "max_characters"),
    Threshold("data_size", "lines", "max", "max_data_lines"),
    Threshold("hidden_text", "visible", "min", "min_visible"),
    Threshold("hidden_text", "visible_share", "min", "min_visible_share"),
)

MEASURES = (
    "characters",
    "lines",
    "longest_line",  # characters
    "mean_line",  # characters
    "alphanumeric",  # share of characters
    "alphabetic",  # share of characters
    "encoded_run",  # characters
    "encoded",  # share of characters
    "visible",  # characters; null where the language has no such limit
    "visible_share",
)

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),
        ("lang", REASON),
        ("size", pa.int64()),
        ("hits", pa.uint64()),
        *((name, pa.float32()) for name in MEASURES),
    ]
)

_BIT = {name: np.uint64(1 << place) for place, name in enumerate(RULES)}
_TEXT_RULES = ("error", "unknown_language", "empty", "generated", "xml_header", "text_name")


def rules_hit(hits: int) -> list[str]:
    """The names of the rules in a bitmap, in order."""
    return [name for place, name in enumerate(RULES) if hits >> place & 1]


def judge_rules(docs: pa.Table, cfg: RulesConfig) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order.

    A document that cannot be read or judged is a verdict ("error:..."), never an exception.
    """
    return judge_each(docs, lambda part: _judge(part, cfg), _failed)


def rejudge(verdicts: pa.Table, cfg: RulesConfig) -> pa.Table:
    """The verdicts under other limits, from the ledger alone; `cfg.text_key` must be that of the judging."""
    facts = _numpy(verdicts["hits"]) & np.uint64(sum(int(_BIT[name]) for name in _TEXT_RULES))
    faults = pc.if_else(
        pc.starts_with(verdicts["reason"].cast(pa.string()), "error:"),
        verdicts["reason"].cast(pa.string()),
        pa.scalar(None, pa.string()),
    )
    measures = {name: verdicts[name] for name in MEASURES}
    return _verdicts(verdicts["row"], faults, verdicts["lang"], verdicts["size"], facts, measures, cfg)


def _judge(docs: pa.Table, cfg: RulesConfig) -> pa.Table:
    text, lang = docs["text"], docs["lang"].fill_null("")
    stats = line_stats(text)
    visible = _visible(text, lang, cfg)
    measures = {
        "characters": stats.characters,
        "lines": stats.lines,
        "longest_line": stats.longest_line,
        "mean_line": stats.mean_line,
        "alphanumeric": stats.share(stats.alphanumerics),
        "alphabetic": stats.share(stats.letters),
        "encoded_run": stats.longest_encoded,
        "encoded": np.minimum(stats.share(stats.encoded), 1),
        "visible": visible,
        "visible_share": stats.share(visible),
    }
    columns = {
        name: pa.array(values.astype(np.float32), mask=np.isnan(values)) for name, values in measures.items()
    }
    # A text that is missing without a fault is a reader's bug; it must not pass for an empty file.
    no_text = pc.if_else(text.is_null(), "no_text", pa.scalar(None, pa.string()))
    faults = pc.binary_join_element_wise("error:", pc.coalesce(docs["fault"], no_text), "")
    facts = _facts(
        {
            "error": faults.is_valid(),
            "unknown_language": pc.equal(lang, ""),
            "empty": stats.characters == stats.blanks,
            "generated": _generated(docs, cfg),
            "xml_header": _xml_header(text, lang, cfg),
            "text_name": _unwanted_prose(docs["path"], lang, cfg),
        }
    )
    return _verdicts(docs["row"], faults, lang, docs["size"], facts, columns, cfg)


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    """The verdict of one document that raised: no measurements, for none could be taken."""
    columns = {
        "row": docs["row"],
        "reason": encode([reason] * docs.num_rows),
        "lang": docs["lang"].fill_null("").combine_chunks().dictionary_encode().cast(REASON),
        "size": docs["size"],
        "hits": pa.array([int(_BIT["error"])] * docs.num_rows, pa.uint64()),
        **{name: pa.nulls(docs.num_rows, pa.float32()) for name in MEASURES},
    }
    return pa.table(columns, schema=VERDICT)


def _verdicts(
    row: pa.ChunkedArray,
    faults: pa.ChunkedArray,
    lang: pa.ChunkedArray,
    size: pa.ChunkedArray,
    facts: np.ndarray,
    measures: Mapping[str, pa.Array | pa.ChunkedArray],
    cfg: RulesConfig,
) -> pa.Table:
    """The verdict table from facts, measurements and limits: the one place that compares them."""
    languages = lang.combine_chunks()
    if not pa.types.is_dictionary(languages.type):
        languages = languages.dictionary_encode().cast(REASON)
    hits = facts.copy()
    limits = [cfg.limits_of(name) for name in languages.dictionary.to_pylist()]
    codes = _numpy(languages.indices)
    for threshold in THRESHOLDS:
        # NaN, for no limit or no measurement, is neither above nor below anything.
        limit = np.array([getattr(limit, threshold.limit) for limit in limits], np.float32)[codes]
        value = _numpy(measures[threshold.measure])
        hit = value > limit if threshold.side == "max" else value < limit
        hits |= np.where(hit, _BIT[threshold.rule], np.uint64(0))
    # A document without text has measurements of nothing: only its fault counts.
    hits = np.where(hits & _BIT["error"], _BIT["error"], hits)
    reason = encode_codes(_lowest_bit(hits), list(RULES))
    if faults.null_count < len(faults):
        reason = pc.coalesce(faults, reason.cast(pa.string())).dictionary_encode().cast(REASON)
    columns = {
        "row": row,
        "reason": reason,
        "lang": languages,
        "size": size,
        "hits": pa.array(hits),
        **measures,
    }
    return pa.table(columns, schema=VERDICT)


def _facts(rules: Mapping[str, np.ndarray | pa.ChunkedArray]) -> np.ndarray:
    """The bitmap of the rules that need the text."""
    hits = np.zeros(len(rules["error"]), np.uint64)
    for name, hit in rules.items():
        hits |= np.where(_numpy(hit), _BIT[name], np.uint64(0))
    return hits


def _generated(docs: pa.Table, cfg: RulesConfig) -> np.ndarray:
    lines = head(docs["text"], lines=cfg.generated_lines, characters=cfg.generated_characters)
    hit = np.zeros(docs.num_rows, bool)
    if cfg.generated_phrases and cfg.generated_lines:
        phrases = "|".join(re.escape(phrase) for phrase in cfg.generated_phrases)
        hit |= _numpy(pc.match_substring_regex(lines, phrases, ignore_case=True))
    if cfg.generated_paths:
        hit |= _numpy(pc.match_substring_regex(docs["path"].fill_null(""), cfg.generated_paths))
    return hit


def _xml_header(text: pa.ChunkedArray, lang: pa.ChunkedArray, cfg: RulesConfig) -> np.ndarray:
    start = head(text, lines=cfg.xml_characters + 1, characters=cfg.xml_characters)
    allowed = pc.is_in(lang, pa.array(cfg.xml_languages, pa.string()))
    return _numpy(pc.match_substring(start, "<?xml version=")) & ~_numpy(allowed)


def _unwanted_prose(path: pa.ChunkedArray, lang: pa.ChunkedArray, cfg: RulesConfig) -> np.ndarray:
    wanted = pc.match_substring_regex(path.fill_null(""), cfg.text_names)
    return _numpy(pc.equal(lang, "Text")) & ~_numpy(wanted)


def _visible(text: pa.ChunkedArray, lang: pa.ChunkedArray, cfg: RulesConfig) -> np.ndarray:
    """Visible characters, float64; NaN where the language has no such limit and nothing was counted."""
    names = pc.unique(lang).to_pylist()
    limits = {name: cfg.limits_of(name) for name in names}
    marked = [
        n for n in names if limits[n].min_visible is not None or limits[n].min_visible_share is not None
    ]
    selected = _numpy(pc.is_in(lang, pa.array(marked, pa.string())))
    visible = np.full(len(selected), np.nan)
    if selected.any():
        visible[selected] = visible_characters(text.filter(pa.array(selected)))
    return visible


def _lowest_bit(hits: np.ndarray) -> np.ndarray:
    """The place of the lowest bit set, int64; -1 where none is."""
    lowest = hits & (~hits + np.uint64(1))
    return np.where(hits == 0, -1, np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64))


def _numpy(values: np.ndarray | pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Arrow to NumPy; a null float becomes NaN."""
    return values if isinstance(values, np.ndarray) else values.to_numpy(zero_copy_only=False)
