"""The shapes that travel between operators: shards, documents, verdicts, sequences.

A *document* is one source file. A *shard* is the smallest restartable piece of a source. A *verdict* is what
a stage said of a document. A *sequence* is one packed training row.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import mmh3
import numpy as np
import pyarrow as pa

DOCUMENT = pa.schema(
    [
        ("row", pa.int32()),  # place in the shard, counted over all rows read, kept or not
        ("repo", pa.string()),  # "name@version", "owner/name", or "" when the source has none
        ("path", pa.string()),  # path inside the repository
        ("lang", pa.string()),  # a name of `pipelines.language.LANGUAGES`, or "" when unknown
        ("license", pa.string()),  # SPDX expression or the source's own words; "" when unknown
        ("size", pa.int64()),  # bytes as stored in the source
        ("text", pa.large_string()),  # null exactly when `fault` is set
        ("fault", pa.string()),  # why the text could not be read ("invalid_utf8", "too_large"), else null
    ]
)

SHARD_BITS = 32


def ordinal(shard: int, row: int | np.ndarray) -> int | np.ndarray:
    """(shard, row) as one comparable 64-bit integer: who comes first."""
    return (shard << SHARD_BITS) | row


def sequence_schema(seq_len: int) -> pa.Schema:
    """One packed training row. `step` is the global batch it belongs to, -1 for filler that nobody trains on."""
    return pa.schema(
        [
            ("tokens", pa.list_(pa.int32(), seq_len)),
            ("loss_tokens", pa.int32()),  # tokens of the row that are text; the rest is padding at the end
            ("boundaries", pa.list_(pa.int32())),  # where each training document starts in the row
            ("epoch", pa.int32()),
            ("shard", pa.int32()),
            (
                "index",
                pa.int32(),
            ),  # place among the shard's sequences: (epoch, shard, index) names a row for audit
            ("step", pa.int64()),
            # Number in `pipelines.language.LANGUAGES` of each training document in the row, also of one that began in
            # an earlier row; -1 for none of these, -2 for several in one document. For accounting only.
            ("languages", pa.list_(pa.int16())),
        ]
    )


def stable_hash(value: object) -> str:
    """128-bit MurmurHash3 of a JSON-able value's canonical form, as 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{mmh3.hash128(text.encode(), signed=False):032x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The smallest restartable piece of a source. `shard` is its place in the judging order."""

    shard: int
    reader: str  # "environment", "parquet", "jsonl", "directory", "git", "archive"
    uri: str  # what the reader opens
    part: str = ""  # reader's own words for which part of it, e.g. a row-group range; JSON
    repos: tuple[str, ...] = ()
    bytes: int = 0  # bytes of text expected, for sizing; an estimate where the source has no index
    fingerprint: str = ""  # changes when the content may have changed (size and time, or a hash)
    prefix: str = ""  # chain hash over the order up to and with this shard; set when it is streamed

    def identity(self) -> str:
        """Hash of what this shard is, without its place in the order."""
        fields = asdict(self)
        del fields["shard"], fields["bytes"], fields["prefix"]
        return stable_hash(fields)

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Shard:
        fields = json.loads(text)
        fields["repos"] = tuple(fields["repos"])
        return cls(**fields)
