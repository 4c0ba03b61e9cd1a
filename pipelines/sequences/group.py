"""Training documents: which files are joined, in a seeded random order (paper 2.2, Table 3)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

KEYS = {"language_repository": ("lang", "repo"), "repository": ("repo",), "file": ()}


def training_documents(
    documents: pa.Table, seed: list[int], group: str = "language_repository"
) -> list[np.ndarray]:
    """Rows of `documents` grouped into training documents: index arrays, files and groups in seeded random order.

    `documents` needs the columns `repo` and `lang`. `seed` is a list of non-negative integers, such as
    [run seed, epoch, shard]: the same seed gives the same order.
    """
    if documents.num_rows == 0:
        return []
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(documents.num_rows)  # files in random order inside their group…
    if group == "file":
        return np.split(shuffled, np.arange(1, len(shuffled)))
    number = np.zeros(documents.num_rows, np.int64)
    for name in KEYS[group]:
        codes = np.asarray(documents[name].combine_chunks().dictionary_encode().indices, np.int64)
        number = number * (int(codes.max()) + 1) + codes
    by_group = shuffled[np.argsort(number[shuffled], kind="stable")]
    starts = np.flatnonzero(np.diff(number[by_group])) + 1
    groups = np.split(by_group, starts)
    return [groups[i] for i in rng.permutation(len(groups))]  # …and the groups too
