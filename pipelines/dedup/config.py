"""What counts as a duplicate, and how large the index is."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.kernels.owner_table import peak_bytes
from snowcoder.base import Config

_PROCESS_BYTES = 300 << 20  # a partition's interpreter, with numba, pyarrow and Ray loaded


class DedupConfig(Config):
    """Exact duplicates, and near duplicates by MinHash banding. The first document of the order is kept."""

    scope: Literal["corpus"] = "corpus"
    """Where a duplicate is looked for: among all documents before it, of any language and repository."""

    link: Literal["direct", "chain"] = "direct"
    """`direct`: a document goes only if it resembles one that is kept. `chain`: also if it resembles one that
    went, as connected components do; more is removed, and some of it resembles nothing that is left."""

    shingle: int = Field(5, ge=1, le=64)
    """Tokens in a shingle (5 in The Stack and StarCoder). A document with fewer has only its exact key."""

    bins: Literal[64, 128, 256] = 128
    """MinHash values per document, and bytes of its signature."""

    bands: int = Field(16, ge=1)
    """Bands; a pair that agrees on all rows of one band is a near duplicate. 16 bands of 8 rows find a pair
    of Jaccard similarity 0.5 with probability 0.06, 0.7 with 0.61, 0.8 with 0.95 and 0.85 with 0.99: the
    threshold in the usual sense, (1 / bands) ** (1 / rows), is 0.71. Compare 14 x 8 (FineWeb): 0.57 at 0.7,
    0.99 at 0.85."""

    rows: int = Field(8, ge=1)
    """Bins in a band; more rows ask for more similarity."""

    threshold: float = Field(0.0, ge=0.0, lt=1.0)
    """Least estimated Jaccard similarity (standard error 0.04 with 128 bins) of a near duplicate to the
    document it duplicates; 0 = banding alone decides. Only with `link: direct`, as a chain ends far from its
    root."""

    partitions: int = Field(2, ge=1, le=4096)
    """Actors that hold the index. One per node is a good start."""

    expected_documents: int = Field(1_000_000, ge=1)
    """Documents *kept*, over the whole order. It sets the memory; the index stops the run, with this remedy,
    before it holds 1.28 times as many."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bands * self.rows > self.bins:
            raise ValueError(f"bands * rows = {self.bands * self.rows} is more than bins = {self.bins}")
        if self.threshold and self.link == "chain":
            raise ValueError("threshold needs link: direct")
        return self

    def probability(self, jaccard: float) -> float:
        """Chance that a pair of this Jaccard similarity agrees on at least one band."""
        return 1 - (1 - jaccard**self.rows) ** self.bands

    @property
    def documents_per_partition(self) -> int:
        """Expected kept documents of the fullest partition."""
        return _share(self.expected_documents, self.partitions)

    @property
    def bands_per_partition(self) -> int:
        """Expected band keys of the fullest partition."""
        return _share(self.expected_documents * self.bands, self.partitions)

    @property
    def partition_bytes(self) -> int:
        """Memory one partition needs at most: three tables at their last rehash, signatures, the process."""
        tables = peak_bytes(self.bands_per_partition) + 2 * peak_bytes(self.documents_per_partition)
        return tables + self.documents_per_partition * self.bins + _PROCESS_BYTES

    @property
    def index_bytes(self) -> int:
        return self.partition_bytes * self.partitions


def _share(count: int, partitions: int) -> int:
    """`count` hashed keys over `partitions`: the mean and six standard deviations."""
    mean = count / partitions
    return math.ceil(mean + 6 * math.sqrt(mean)) if partitions > 1 else count
