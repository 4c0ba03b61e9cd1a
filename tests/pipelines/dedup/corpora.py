"""Random corpora of keys, and the claim's semantics in plain Python: the oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import DocumentKeys
from pipelines.kernels.minhash import estimate_jaccard
from pipelines.schema import ordinal

BANDS, BINS = 3, 64


@dataclass(frozen=True)
class Document:
    row: int
    exact: int
    bands: tuple[int, ...]
    pattern: int

    @property
    def short(self) -> bool:
        """Equal texts are short together."""
        return self.exact in _KEYS[:6]

    @property
    def signature(self) -> np.ndarray:
        """Patterns agree with each other on a quarter to three quarters of their bytes."""
        return np.where(np.arange(BINS) < 16 * self.pattern, 0, self.pattern).astype(np.uint8)


def config(**fields) -> DedupConfig:
    return DedupConfig(bins=BINS, bands=BANDS, rows=2, expected_documents=1000, **fields)


# Few distinct keys, so that every kind of collision happens: within a shard, across shards, through chains.
_KEYS = [k * 0x9E3779B97F4A7C15 % 2**64 for k in range(26)]
_document = st.builds(
    Document,
    row=st.just(0),
    exact=st.sampled_from(_KEYS),
    bands=st.tuples(*[st.sampled_from(_KEYS)] * BANDS),
    pattern=st.integers(0, 3),
)


@st.composite
def shards(draw) -> list[list[Document]]:
    """Up to five shards of documents, with gaps between their rows."""
    result = []
    for size in draw(st.lists(st.integers(0, 8), min_size=1, max_size=5)):
        rows = np.cumsum([draw(st.integers(1, 3)) for _ in range(size)])
        documents = [draw(_document) for _ in range(size)]
        result.append(
            [Document(int(r), d.exact, d.bands, d.pattern) for r, d in zip(rows, documents, strict=True)]
        )
    return result


def to_keys(documents: list[Document]) -> tuple[np.ndarray, DocumentKeys]:
    return np.array([d.row for d in documents], np.int32), DocumentKeys(
        np.array([[d.exact, 0] for d in documents], np.uint64).reshape(-1, 2),
        np.array([d.bands for d in documents], np.uint64).reshape(-1, BANDS),
        np.array([d.signature for d in documents], np.uint8).reshape(-1, BINS),
        np.array([d.short for d in documents], np.bool_),
    )


def plain_claim(corpus: list[list[Document]], link: str, threshold: float) -> list[list[tuple]]:
    """(row, reason, dup_of) of each document of each shard: one after another, with two dicts."""
    exact_owner: dict[int, int] = {}
    band_owner: dict[int, int] = {}
    signature: dict[int, np.ndarray] = {}
    verdicts = []
    for shard, documents in enumerate(corpus):
        verdicts.append([])
        for d in documents:
            own, bands = ordinal(shard, d.row), () if d.short else d.bands
            same = exact_owner.get(d.exact)
            owners = {band_owner[k] for k in bands if k in band_owner}
            owners = {o for o in owners if estimate_jaccard(signature[o], d.signature) >= threshold}
            if same is not None:
                owners.add(same)
            root = min(owners, default=own)
            if root == own:
                exact_owner[d.exact] = own
                signature[own] = d.signature
                verdicts[-1].append((d.row, None, -1))
            else:
                verdicts[-1].append((d.row, "exact_duplicate" if root == same else "near_duplicate", root))
            if root == own or link == "chain":
                for k in bands:
                    band_owner.setdefault(k, root)
    return verdicts
