"""What counts as a duplicate, and how large the index is."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.dedup import banding
from pipelines.dedup.normal import NormalForm
from pipelines.dedup.preference import Preference
from pipelines.kernels.owner_table import SLOT_BYTES, WIDE_SLOT_BYTES, peak_bytes
from snowcoder.base import Config

_PROCESS_BYTES = 300 << 20  # a partition's interpreter, with numba, pyarrow and Ray loaded
# What changes no answer: sizes, and the order, which each verdict's own key tells.
_SIZING = {"partitions", "expected_documents", "grow", "order"}


class DedupConfig(Config):
    """Exact duplicates, and near duplicates by MinHash banding. The first document of the order is kept."""

    scope: Literal["corpus", "language", "repository"] = "corpus"
    """Where a duplicate is looked for: among all documents before it, or among those before it in the same
    language (The Stack, StarCoder) or in the same repository. Documents without a repository share one."""

    level: Literal["file", "training_document"] = "file"
    """What is compared, and kept or dropped as one: a file, or the files that one training document joins, those
    of a repository in one language and one shard (DeepSeek-Coder 2024, section 2.1, deduplicates whole
    repositories, so as to break none). Its shingles are those of its files together."""

    normalise: NormalForm = "none"
    """A second exact key, of this form of the text, and the text that is shingled. `whitespace`: each run of ASCII
    white space is one blank, none at the ends, no byte order mark. `case`: also A-Z as a-z. Documents too short
    for a shingle gain most, as they have exact keys only."""

    prefer: tuple[Preference, ...] = ()
    """Which of the duplicates in a shard is kept: the one with most `stars`, the latest `date`, the freest
    `license`, the shortest `path`, in the order given, then the first. Stars and dates are those of `source.facts`.
    Between shards, `order` decides."""

    order: Literal["seeded", "preferred"] = "seeded"
    """In which order shards are claimed, and so whose copies are kept. `seeded`: the order of training, which then can
    judge while it trains. `preferred`: by `prefer`, a shard by the best of its repositories (a lesser one that
    shares its shard comes with it); everything is judged before training starts, which goes through the shards in
    seeded order."""

    link: Literal["direct", "chain"] = "direct"
    """`direct`: a document goes only if it resembles one that is kept. `chain`: also if it resembles one that
    went, as connected components do; more is removed, and some of it resembles nothing that is left."""

    shingle: int = Field(5, ge=1, le=64)
    """Tokens in a shingle (5 in The Stack and StarCoder). A document with fewer has only its exact keys."""

    bins: Literal[64, 128, 256] = 128
    """MinHash values per document, and bytes of its signature."""

    similarity: float = Field(0.7, gt=0.0, lt=1.0)
    """Jaccard similarity from which two documents are near duplicates. Given without `bands` and `rows` it chooses
    them (`pipelines.dedup.banding.best_banding`): 0.7 gives 14 x 9 of 128 bins and 25 x 10 of 256, 0.85 gives 8 x 16
    and 13 x 19. Banding is a curve, not a step: at the similarity itself it finds about half of the pairs."""

    bands: int = Field(16, ge=1)
    """Bands; a pair that agrees on all rows of one band is a near duplicate. 16 bands of 8 rows find a pair
    of Jaccard similarity 0.5 with probability 0.06, 0.7 with 0.61, 0.8 with 0.95 and 0.85 with 0.99: the
    threshold in the usual sense, (1 / bands) ** (1 / rows), is 0.71. Compare 14 x 8 (FineWeb): 0.57 at 0.7,
    0.99 at 0.85."""

    rows: int = Field(8, ge=1)
    """Bins in a band; more rows ask for more similarity."""

    verify: bool = True
    """A near duplicate must also reach `similarity` by the estimate from the signatures (standard error 0.04 with
    128 bins, 0.03 with 256). Fewer false positives, and some recall is lost: docs/near_duplicates.md measures both.
    Not with `link: chain`, as a chain ends far from its root; there the default is false."""

    against: tuple[str, ...] = ()
    """Folders of stored indices (`pipelines.dedup.snapshot`) of other corpora, whose documents come before all of
    this one and own their keys; nothing is added to them."""

    partitions: int = Field(2, ge=1, le=4096)
    """Actors that hold the index. One per node is a good start."""

    expected_documents: int = Field(1_000_000, ge=1)
    """Documents *kept*, over the whole order. It sets the memory, which is checked before the start."""

    grow: bool = True
    """Let a partition that holds all it was sized for double, while its node has the memory to spare. Without, or
    where there is none, the run stops with this remedy at 1.28 times `expected_documents`."""

    @model_validator(mode="before")
    @classmethod
    def _banding(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("link") == "chain":
            given = {"verify": False, **given}
        if given.get("similarity") is None:
            return given
        if ("bands" in given) != ("rows" in given):
            raise ValueError("with similarity, give both bands and rows, or neither")
        if "bands" in given or not 0 < float(given["similarity"]) < 1:
            return given
        bands, rows = banding.best_banding(float(given["similarity"]), int(given.get("bins", 128)))
        return {**given, "bands": bands, "rows": rows}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bands * self.rows > self.bins:
            raise ValueError(f"bands * rows = {self.bands * self.rows} is more than bins = {self.bins}")
        if self.order == "preferred" and not {"stars", "date"} & set(self.prefer):
            raise ValueError("order: preferred needs stars or date in prefer")
        if self.verify and self.link == "chain":
            raise ValueError("verify needs link: direct")
        if len(self.against) > 31:
            raise ValueError("against: 31 stored indices at most")
        return self

    def probability(self, jaccard: float) -> float:
        """Chance that a pair of this Jaccard similarity agrees on at least one band."""
        return banding.probability(jaccard, self.bands, self.rows)

    def key_fields(self) -> dict[str, Any]:
        """The fields that the keys of a document depend on: indices can be compared when these are equal."""
        return {
            name: getattr(self, name)
            for name in ("scope", "level", "normalise", "shingle", "bins", "bands", "rows")
        }

    def verdict_fields(self) -> dict[str, Any]:
        """The fields that a verdict depends on, as JSON; of `against` only the contents matter, which are not here."""
        without = _SIZING | {"against"} | (set() if self.verify else {"similarity"})
        return self.model_dump(mode="json", exclude=without)

    @property
    def exact_keys(self) -> int:
        """Exact keys of a document."""
        return 1 if self.normalise == "none" else 2

    @property
    def documents_per_partition(self) -> int:
        """Expected kept documents of the fullest partition."""
        return _share(self.expected_documents, self.partitions)

    @property
    def exact_per_partition(self) -> int:
        """Expected exact keys of the fullest partition."""
        return _share(self.expected_documents * self.exact_keys, self.partitions)

    @property
    def bands_per_partition(self) -> int:
        """Expected band keys of the fullest partition."""
        return _share(self.expected_documents * self.bands, self.partitions)

    @property
    def partition_bytes(self) -> int:
        """Memory one partition needs at most: three tables at their last rehash, signatures, the process."""
        return (
            peak_bytes(self.exact_per_partition, WIDE_SLOT_BYTES)
            + peak_bytes(self.bands_per_partition, SLOT_BYTES)
            + peak_bytes(self.documents_per_partition, SLOT_BYTES)
            + self.documents_per_partition * self.bins
            + _PROCESS_BYTES
        )

    @property
    def index_bytes(self) -> int:
        return self.partition_bytes * self.partitions


def _share(count: int, partitions: int) -> int:
    """`count` hashed keys over `partitions`: the mean and six standard deviations."""
    mean = count / partitions
    return math.ceil(mean + 6 * math.sqrt(mean)) if partitions > 1 else count
