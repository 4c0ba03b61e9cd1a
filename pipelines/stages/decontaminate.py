"""The second stage: does this file contain a benchmark's task or its solution?

BigCode's way (StarCoder2, section 3.3): case-insensitive substring search without white space, for docstrings
and solutions. Here all needles are searched at once (Aho-Corasick), and what is compared survives formatters,
comments and JSON strings too (`pipelines.kernels.squeeze`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig
from pipelines.stages.verdicts import REASON, encode, judge_each

DECONTAMINATE_VERSION = 1

CONTAMINATED = "contaminated"

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),
        ("benchmark", REASON),
        ("task", REASON),
        ("match", pa.string()),  # the evidence: the document's own text, at most `evidence_characters`
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
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order.

    Of several matches in a document the one that ends first is the evidence. A null text has none.
    """
    return judge_each(docs, lambda part: _judge(part, index, cfg), _failed)


def _judge(docs: pa.Table, index: BenchmarkIndex, cfg: DecontaminateConfig) -> pa.Table:
    found = list(index.search(docs["text"], cfg.evidence_characters))
    at = np.full(docs.num_rows, -1)
    at[[document for document, _ in found]] = np.arange(len(found))
    rows = pa.array(at, mask=at < 0)
    columns = {
        "row": docs["row"],
        "reason": encode([CONTAMINATED] * len(found)).take(rows),
        "benchmark": encode([match.benchmark for _, match in found]).take(rows),
        "task": encode([match.task for _, match in found]).take(rows),
        "match": pa.array([match.text for _, match in found], pa.string()).take(rows),
    }
    return pa.table(columns, schema=VERDICT)


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    nothing = encode([None] * docs.num_rows)
    reasons = encode([reason] * docs.num_rows)
    columns = [docs["row"], reasons, nothing, nothing, pa.nulls(docs.num_rows, pa.string())]
    return pa.table(columns, schema=VERDICT)
