"""The front of the kept corpus: which documents there are, and the texts of those that are drawn.

Negatives, documents to label and unseen files all come from here. The index holds some 60 bytes a document and no
text; texts are read from the source again, for the drawn ones alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.curation import kept_documents
from pipelines.phases.corpus import Corpus
from pipelines.schema import Shard, stable_hash
from snowcoder.files import write_atomically

INDEX = pa.schema(
    [
        ("place", pa.int32()),  # of the shard in `Front.shards`
        ("row", pa.int32()),
        ("lang", pa.string()),
        ("repo", pa.string()),
        ("size", pa.int64()),  # bytes of the text as the stages leave it
    ]
)


@dataclass(frozen=True)
class Front:
    """Shards of a corpus, all of them judged; `folder` keeps the index between runs."""

    corpus: Corpus
    shards: tuple[Shard, ...]
    folder: Path

    @cached_property
    def index(self) -> pa.Table:
        """Every kept document, schema INDEX, in order."""
        key = stable_hash([self.corpus.curation.claim_stage.key, self.shards[-1].prefix, len(self.shards)])
        path = self.folder / f"front-{key[:16]}.parquet"
        if path.exists():
            return pq.read_table(path)
        parts = [INDEX.empty_table()]
        for place, shard in enumerate(self.shards):
            for table in kept_documents(shard, self.corpus.curation):
                columns = [
                    pa.array(np.full(len(table), place, np.int32)), table["row"], table["lang"], table["repo"],
                    pc.binary_length(table["text"]).cast(pa.int64()),
                ]  # fmt: skip
                parts.append(pa.table(dict(zip(INDEX.names, columns, strict=True)), schema=INDEX))
        index = pa.concat_tables(parts).combine_chunks()
        sink = pa.BufferOutputStream()
        pq.write_table(index, sink, compression="zstd")
        write_atomically(path, sink.getvalue())
        return index

    def fetch(self, places: np.ndarray) -> pa.Table:
        """Texts of the documents at ascending places of the index: `text`, `lang`, `group` (the repository), `ordinal`
        (a number that ascends with the place)."""
        wanted = self.index.take(pa.array(places))
        of, rows = (np.asarray(wanted[name]) for name in ("place", "row"))
        parts = [
            pa.table(
                {"text": pa.array([], pa.large_string()), "lang": pa.array([], pa.string()),
                 "group": pa.array([], pa.string())}
            )
        ]  # fmt: skip
        for place in np.unique(of).tolist():
            mine = rows[of == place]
            for table in kept_documents(self.shards[place], self.corpus.curation):
                table = table.filter(pa.array(np.isin(np.asarray(table["row"]), mine)))
                parts.append(table.select(["text", "lang", "repo"]).rename_columns(["text", "lang", "group"]))
        return pa.concat_tables(parts).append_column("ordinal", pa.array(places, pa.int64()))


def front_shards(corpus: Corpus, size: int) -> tuple[Shard, ...]:
    """The front of the order that holds `size` bytes of raw text, or all of it."""
    sizes = np.cumsum([shard.bytes for shard in corpus.shards])
    return corpus.shards[: int(np.searchsorted(sizes, size)) + 1]
