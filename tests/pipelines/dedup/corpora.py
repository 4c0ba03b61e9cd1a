"""Random corpora of keys, and the claim's semantics in plain Python: the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import DocumentKeys
from pipelines.kernels.minhash import estimate_jaccard
from pipelines.schema import ordinal

BANDS, BINS, FORMS = 3, 64, 2


@dataclass(frozen=True)
class Document:
    row: int
    exact: int
    bands: tuple[int, ...]
    pattern: int
    spelling: int  # texts of the same `exact` are equal in their normal form, of the same spelling too in their bytes
    rank: int

    @property
    def short(self) -> bool:
        """Equal texts are short together."""
        return self.exact in _KEYS[:6]

    @property
    def exact_keys(self) -> list[tuple[int, int]]:
        """Keys that differ in either half: of the bytes, and of the normal form."""
        return [(self.exact, self.spelling), (self.exact, 7)]

    @property
    def signature(self) -> np.ndarray:
        """Patterns agree with each other on a quarter to three quarters of their bytes."""
        return np.where(np.arange(BINS) < 16 * self.pattern, 0, self.pattern).astype(np.uint8)


def config(**fields) -> DedupConfig:
    return DedupConfig(
        bins=BINS, bands=BANDS, rows=2, normalise="whitespace", expected_documents=1000, **fields
    )


# Few distinct keys, so that every kind of collision happens: within a shard, across shards, through chains.
_KEYS = [k * 0x9E3779B97F4A7C15 % 2**64 for k in range(26)]
_document = st.builds(
    Document,
    row=st.just(0),
    exact=st.sampled_from(_KEYS),
    bands=st.tuples(*[st.sampled_from(_KEYS)] * BANDS),
    pattern=st.integers(0, 3),
    spelling=st.integers(0, 1),
    rank=st.integers(0, 2),
)


@st.composite
def shards(draw) -> list[list[Document]]:
    """Up to five shards of documents, with gaps between their rows."""
    result = []
    for size in draw(st.lists(st.integers(0, 8), min_size=1, max_size=5)):
        rows = np.cumsum([draw(st.integers(1, 3)) for _ in range(size)])
        documents = [draw(_document) for _ in range(size)]
        result.append(
            [replace(document, row=int(row)) for row, document in zip(rows, documents, strict=True)]
        )
    return result


def to_keys(documents: list[Document]) -> tuple[np.ndarray, DocumentKeys]:
    count = len(documents)
    return np.array([d.row for d in documents], np.int32), DocumentKeys(
        exact=np.array([d.exact_keys for d in documents], np.uint64).reshape(count, FORMS, 2),
        bands=np.array([d.bands for d in documents], np.uint64).reshape(count, BANDS),
        signature=np.array([d.signature for d in documents], np.uint8).reshape(count, BINS),
        short=np.array([d.short for d in documents], np.bool_),
        unit=np.arange(count, dtype=np.int32),
        rank=np.array([d.rank for d in documents], np.int32),
    )


@dataclass
class Plain:
    """The claim's semantics with dicts. `claims`: (row, reason, dup_of, corpus) of each document, by row."""

    cfg: DedupConfig
    below: tuple[Plain, ...] = ()
    exact_owner: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    band_owner: dict[int, tuple[int, int]] = field(default_factory=dict)
    signature: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def claims(self, corpus: list[list[Document]]) -> list[list[tuple]]:
        return [self.claim(shard, documents) for shard, documents in enumerate(corpus)]

    def claim(self, shard: int, documents: list[Document]) -> list[tuple]:
        """An owner is (order, code): other corpora first, then earlier shards by row, then this one as claimed."""
        verdicts = []
        here: dict[tuple[int, int], int] = {}  # owners of this shard: their place in the claim
        least = self.cfg.similarity if self.cfg.verify else 0
        ordered = sorted(documents, key=lambda d: d.rank) if self.cfg.prefer else documents
        for place, d in enumerate(ordered):
            own, bands = (0, ordinal(shard, d.row)), () if d.short else d.bands
            same = [self.owner(k, "exact_owner") for k in d.exact_keys]
            near = [self.owner(k, "band_owner") for k in bands]
            near = [o for o in near if o and estimate_jaccard(self.signature_of(o), d.signature) >= least]
            owners = {o for o in (*same, *near) if o}
            root = min(owners, key=lambda o: (o[0] or 99, o in here, here.get(o, o[1])), default=own)
            if root == own:
                here[own] = place
                self.exact_owner.update(dict.fromkeys(d.exact_keys, own))
                self.signature[own] = d.signature
                verdicts.append((d.row, None, -1, 0))
            else:
                reason = "exact" if root == same[0] else "normalised" if root == same[1] else "near"
                verdicts.append((d.row, f"{reason}_duplicate", root[1], root[0]))
            if root == own or self.cfg.link == "chain":
                for k in bands:
                    if not self.owner(k, "band_owner"):
                        self.band_owner[k] = root
        return sorted(verdicts)

    def owner(self, key, table: str) -> tuple[int, int] | None:
        """(corpus, ordinal): of the first corpus below that has the key, else of this one."""
        for number, base in enumerate(self.below, 1):
            if found := getattr(base, table).get(key):
                return number, found[1]
        return getattr(self, table).get(key)

    def signature_of(self, owner: tuple[int, int]) -> np.ndarray:
        corpus, place = owner
        return self.signature[owner] if corpus == 0 else self.below[corpus - 1].signature[0, place]


def plain_claim(corpus: list[list[Document]], cfg: DedupConfig) -> list[list[tuple]]:
    return Plain(cfg).claims(corpus)
