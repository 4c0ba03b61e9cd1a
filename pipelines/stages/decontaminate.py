"""Does this file contain a benchmark's task or its solution?

BigCode's way (StarCoder2, section 3.3): case-insensitive substring search without white space, for docstrings and
solutions. DeepSeek-Coder's way (section 2.4): n-grams of tokens. And one against renamed copies. What each finds
and what it takes for a leak wrongly is measured in docs/decontamination.md.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig
from pipelines.stages.verdicts import REASON, encode, judge_each

DECONTAMINATE_VERSION = 2

CONTAMINATED = "contaminated"

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),
        ("benchmark", REASON),
        ("task", REASON),
        ("detector", REASON),  # "substring", "ngram" or "near_duplicate"
        ("match", pa.string()),  # the evidence: the document's own text, at most `evidence_characters`
        ("share", pa.float32()),  # of the task's text that was found, in the detector's own weights
    ]
)

__all__ = [
    "CONTAMINATED",
    "DECONTAMINATE_VERSION",
    "VERDICT",
    "BenchmarkIndex",
    "DecontaminateConfig",
    "judge_contamination",
]


def judge_contamination(docs: pa.Table, index: BenchmarkIndex, cfg: DecontaminateConfig) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order. A null text has no match.

    ValueError when the index was built with another configuration than `cfg`, evidence aside.
    """
    if index.settings.what_is_searched() != cfg.what_is_searched():
        raise ValueError("the index was built with another configuration than the documents are judged by")
    return judge_each(docs, lambda part: _judge(part, index, cfg), _failed)


def _judge(docs: pa.Table, index: BenchmarkIndex, cfg: DecontaminateConfig) -> pa.Table:
    found = list(index.search(docs["text"], cfg.evidence_characters, docs["lang"]))
    at = np.full(docs.num_rows, -1)
    at[[document for document, _ in found]] = np.arange(len(found))
    rows = pa.array(at, mask=at < 0)
    columns = {
        "row": docs["row"],
        "reason": encode([CONTAMINATED] * len(found)).take(rows),
        "benchmark": encode([match.benchmark for _, match in found]).take(rows),
        "task": encode([match.task for _, match in found]).take(rows),
        "detector": encode([match.detector for _, match in found]).take(rows),
        "match": pa.array([match.text for _, match in found], pa.string()).take(rows),
        "share": pa.array([match.share for _, match in found], pa.float32()).take(rows),
    }
    return pa.table(columns, schema=VERDICT)


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    n = docs.num_rows
    nothing = encode([None] * n)
    reasons = encode([reason] * n)
    columns = [
        docs["row"],
        reasons,
        nothing,
        nothing,
        nothing,
        pa.nulls(n, pa.string()),
        pa.nulls(n, pa.float32()),
    ]
    return pa.table(columns, schema=VERDICT)
