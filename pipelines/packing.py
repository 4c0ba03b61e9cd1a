"""From a shard's documents to its packed sequences, and where a phase's documents come from.

Three suppliers of documents, one way to pack them: the raw source (general), the tee of selected documents
(continued and its control), the accepted outputs of the request ledger (enhanced).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import mmh3
import numpy as np
import pyarrow as pa

from pipelines.curation import Curation, kept_documents
from pipelines.ledger import Ledger, Stage
from pipelines.schema import Shard
from pipelines.sequences.config import SequencesConfig
from pipelines.sequences.pack import PACKING_VERSION, to_table
from pipelines.sequences.shard_rows import ShardFiles, packed_rows
from pipelines.sequences.tokenizer import load_tokenizer
from snowcoder.base import UserError


class Documents(Protocol):
    """Where a phase's documents come from. `stage` is what they depend on; its key goes into the packing's key."""

    @property
    def stage(self) -> Stage: ...

    def of(self, shard: Shard) -> Iterator[pa.Table]:
        """The shard's documents in row order, as tables with `repo`, `lang` and `text`."""
        ...


@dataclass(frozen=True)
class KeptDocuments:
    """Phase 1: every document that the curation kept."""

    curation: Curation

    @property
    def stage(self) -> Stage:
        return self.curation.claim_stage

    def of(self, shard: Shard) -> Iterator[pa.Table]:
        return kept_documents(shard, self.curation)


@dataclass(frozen=True)
class Packing:
    """All that decides a phase's sequences, given its documents."""

    phase: str
    documents: Documents
    sequences: SequencesConfig
    tokenizer: str  # directory
    seed: int
    ledger_root: str

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.ledger_root)

    @cached_property
    def stage(self) -> Stage:
        config = {
            **self.sequences.rows_depend_on(),
            "tokenizer": load_tokenizer(self.tokenizer).fingerprint,
            "seed": self.seed,
        }
        return Stage(f"sequences:{self.phase}", PACKING_VERSION, config, self.documents.stage)

    def identity(self, shard: Shard) -> str:
        return shard.prefix or shard.identity()

    def recorded(self, shard: Shard) -> dict[str, Any] | None:
        """What was committed of the shard's sequences; None when it was never packed under this key."""
        return self.ledger.meta(self.stage, shard.shard, self.identity(shard))

    def count(self, shard: Shard) -> int | None:
        """The recorded number of sequences."""
        meta = self.recorded(shard)
        return None if meta is None else meta["sequences"]


def pack_shard(shard: Shard, epoch: int, packing: Packing) -> pa.Table:
    """The shard's sequences in this epoch's order; its count is committed before anybody sees them.

    The number of sequences is the same in every epoch: only the order inside changes.
    Raises UserError when the shard's tokens are not those that were committed: the source or a verdict changed
    under a run that has been trained on it.
    """
    tokenizer, cfg = load_tokenizer(packing.tokenizer), packing.sequences
    files = ShardFiles.read(packing.documents.of(shard), tokenizer, cfg)
    packed, languages = packed_rows(files, tokenizer, cfg, seed=packing.seed, epoch=epoch, shard=shard.shard)
    content = _content(files.ids)
    recorded = packing.recorded(shard)
    if recorded is not None and recorded["content"] != content:
        raise UserError(
            f"{shard.uri}: shard {shard.shard} gives other tokens than it did before; "
            "restore the source and the ledger, or start a new run directory"
        )
    if recorded is None:
        sequences, tokens = len(packed.rows), int(packed.text_tokens.sum())
        packing.ledger.commit(
            packing.stage,
            shard.shard,
            pa.table({"sequences": [sequences], "tokens": [tokens]}),
            packing.identity(shard),
            sequences=sequences,
            tokens=tokens,
            documents=len(files.ids),
            padding=sequences * cfg.seq_len - tokens,
            cut=packed.cut,
            content=content,
        )
    return to_table(
        packed.rows,
        packed.text_tokens,
        packed.boundaries,
        epoch=epoch,
        shard=shard.shard,
        languages=languages,
    )


def _content(ids: list[np.ndarray]) -> str:
    """128-bit MurmurHash3 of all documents' tokens end to end, in row order: the same in every epoch."""
    hasher = mmh3.mmh3_x64_128()
    for part in ids:
        hasher.update(part.data)
    return f"{hasher.uintdigest():032x}"
