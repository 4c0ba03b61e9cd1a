"""The first stage that reads text: is this file code that a person wrote? The rules themselves: `rules_table`.

Every rule that has a limit is judged for every document, so that the ledger can answer "what would this rule
cost?"; the *reason* is the first rule in the order of `RULES`. A rule either needs the text (its hit is a fact)
or compares a kept measurement with a threshold. Verdicts are taken from the measurements as stored, in float32,
so that judging again from the ledger gives the same verdicts as judging the text.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.kernels.excerpts import head
from pipelines.kernels.line_stats import line_stats
from pipelines.stages.generated import is_generated
from pipelines.stages.measures import Clock, lap, measure
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.rules_table import MEASURES, RULES, THRESHOLDS, Threshold
from pipelines.stages.verdicts import REASON, encode, encode_codes, judge_each

__all__ = [
    "MEASURES",
    "RULES",
    "RULES_VERSION",
    "THRESHOLDS",
    "VERDICT",
    "RulesConfig",
    "judge_rules",
    "rejudge",
    "rules_hit",
]

RULES_VERSION = 2

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
_FACTS = np.uint64(sum(int(_BIT[name]) for name in set(RULES) - {threshold.rule for threshold in THRESHOLDS}))


def rules_hit(hits: int) -> list[str]:
    """The names of the rules in a bitmap, in order."""
    return [name for place, name in enumerate(RULES) if hits >> place & 1]


def judge_rules(docs: pa.Table, cfg: RulesConfig, clock: Clock | None = None) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order.

    A measurement is null where no threshold of the document's language needs it (`RulesConfig.groups_of`). A
    document that cannot be read or judged is a verdict ("error:..."), never an exception. Adds the processor
    seconds of each group of measurements to `clock`, and those of facts and comparisons as "facts", "limits".
    """
    return judge_each(docs, lambda part: _judge(part, cfg, clock), _failed)


def rejudge(verdicts: pa.Table, cfg: RulesConfig) -> pa.Table:
    """The verdicts under other limits, from the ledger alone; `cfg.text_key` must be that of the judging."""
    facts = _numpy(verdicts["hits"]) & _FACTS
    reason = verdicts["reason"].cast(pa.string())
    faults = pc.if_else(pc.starts_with(reason, "error:"), reason, pa.scalar(None, pa.string()))
    measures = {name: verdicts[name] for name in MEASURES}
    return _verdicts(verdicts["row"], faults, verdicts["lang"], verdicts["size"], facts, measures, cfg)


def _judge(docs: pa.Table, cfg: RulesConfig, clock: Clock | None) -> pa.Table:
    text, lang = docs["text"], docs["lang"].fill_null("")
    with lap(clock, "characters"):
        stats = line_stats(text)
    measures = measure(docs, stats, cfg, clock)
    with lap(clock, "facts"):
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
    with lap(clock, "limits"):
        columns = {name: _column(measures.get(name), docs.num_rows) for name in MEASURES}
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


def _column(values: np.ndarray | None, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, pa.float32())
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


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
    compared = {**measures, "size": size}

    def limit(field: str) -> np.ndarray:
        return np.array([getattr(table, field) for table in limits], np.float32)[codes]

    for threshold in THRESHOLDS:
        if any(getattr(table, threshold.limit) is not None for table in limits):
            hit = _beyond(threshold, _numpy(compared[threshold.measure]), limit(threshold.limit))
            if threshold.draw:
                share = limit(threshold.draw)
                hit &= (share >= 1) | (_numpy(measures["draw"]) < share)
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


def _beyond(threshold: Threshold, value: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """NaN, for no limit or no measurement, is neither above nor below anything."""
    return value > limit if threshold.side == "max" else value < limit


def _facts(rules: Mapping[str, np.ndarray | pa.ChunkedArray]) -> np.ndarray:
    """The bitmap of the rules that need the text."""
    hits = np.zeros(len(rules["error"]), np.uint64)
    for name, hit in rules.items():
        hits |= np.where(_numpy(hit), _BIT[name], np.uint64(0))
    return hits


def _generated(docs: pa.Table, cfg: RulesConfig) -> np.ndarray:
    return is_generated(
        docs["text"],
        docs["path"],
        phrases=cfg.generated_phrases,
        lines=cfg.generated_lines,
        characters=cfg.generated_characters,
        paths=cfg.generated_paths,
        marks=cfg.generated_marks,
    )


def _xml_header(text: pa.ChunkedArray, lang: pa.ChunkedArray, cfg: RulesConfig) -> np.ndarray:
    start = head(text, lines=cfg.xml_characters + 1, characters=cfg.xml_characters)
    allowed = pc.is_in(lang, pa.array(cfg.xml_languages, pa.string()))
    return _numpy(pc.match_substring(start, "<?xml version=")) & ~_numpy(allowed)


def _unwanted_prose(path: pa.ChunkedArray, lang: pa.ChunkedArray, cfg: RulesConfig) -> np.ndarray:
    wanted = pc.match_substring_regex(path.fill_null(""), cfg.text_names)
    return _numpy(pc.equal(lang, "Text")) & ~_numpy(wanted)


def _lowest_bit(hits: np.ndarray) -> np.ndarray:
    """The place of the lowest bit set, int64; -1 where none is."""
    lowest = hits & (~hits + np.uint64(1))
    return np.where(hits == 0, -1, np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64))


def _numpy(values: np.ndarray | pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Arrow to NumPy; a null float becomes NaN."""
    return values if isinstance(values, np.ndarray) else values.to_numpy(zero_copy_only=False)
