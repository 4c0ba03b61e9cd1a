"""What every stage does with its verdicts: encode reasons, and turn a failing document into a verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.schema import DOCUMENT

REASON = pa.dictionary(pa.int16(), pa.string())

# From this many documents on, an error in each of them is not the documents' fault.
_MANY = 8

log = logging.getLogger(__name__)


def encode(values: list[str | None]) -> pa.Array:
    """Strings as a REASON array; None stays null."""
    return pa.array(values, pa.string()).dictionary_encode().cast(REASON)


def encode_codes(codes: np.ndarray, names: list[str]) -> pa.Array:
    """`names[code]` for each code as a REASON array, null for a negative code; only names that occur."""
    used = np.unique(codes[codes >= 0])
    compact = np.searchsorted(used, codes)
    indices = pa.array(compact.astype(np.int16), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array([names[i] for i in used], pa.string()))


def judge_each(
    docs: pa.Table,
    judge: Callable[[pa.Table], pa.Table],
    failed: Callable[[pa.Table, str], pa.Table],
) -> pa.Table:
    """`judge(docs)`; the documents that make it raise get the verdict `failed(document, "error:<type>")`.

    The culprits are found by halving, so that the fast path stays one call for the whole table. Still raised
    are running out of memory, which is the machine's fault, and an error in each of many documents, which
    is the stage's. ValueError when `docs` has not the schema DOCUMENT.
    """
    if not docs.schema.equals(DOCUMENT):
        raise ValueError(f"documents must have the schema DOCUMENT, not {docs.schema}")
    try:
        return judge(docs)
    except MemoryError:
        raise
    except Exception as error:
        verdicts = _halve(docs, judge, failed, error)
        if docs.num_rows >= _MANY and _all_failed(verdicts):
            raise
        return verdicts


def _halve(
    docs: pa.Table,
    judge: Callable[[pa.Table], pa.Table],
    failed: Callable[[pa.Table, str], pa.Table],
    error: Exception,
) -> pa.Table:
    """The verdicts of a table that raised `error` as a whole."""
    if docs.num_rows <= 1:
        row = docs["row"][0].as_py() if docs.num_rows else None
        log.warning("row %s cannot be judged: %s: %s", row, type(error).__name__, error)
        return failed(docs, f"error:{type(error).__name__}")
    half = docs.num_rows // 2
    parts = []
    for part in (docs[:half], docs[half:]):
        try:
            parts.append(judge(part))
        except MemoryError:
            raise
        except Exception as again:
            parts.append(_halve(part, judge, failed, again))
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def _all_failed(verdicts: pa.Table) -> bool:
    reasons = verdicts["reason"].cast(pa.string())
    return reasons.null_count == 0 and pc.all(pc.starts_with(reasons, "error:")).as_py()
