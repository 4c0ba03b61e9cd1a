"""Training documents: the files of one repository in one language, joined in a seeded random order (paper 2.2)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def training_documents(documents: pa.Table, seed: list[int]) -> list[np.ndarray]:
    """Rows of `documents` grouped into training documents: index arrays, files and groups in seeded random order.

    `documents` needs the columns `repo` and `lang`. `seed` is a list of non-negative integers, such as
    [run seed, epoch, shard]: the same seed gives the same order.
    """
    if documents.num_rows == 0:
        return []
    keys = documents.select(["lang", "repo"])
    codes = [
        np.asarray(pa.compute.dictionary_encode(keys[name].combine_chunks()).indices)
        for name in keys.column_names
    ]
    group = codes[0].astype(np.int64) * (int(codes[1].max()) + 1) + codes[1]
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(documents.num_rows)  # files in random order inside their group…
    by_group = shuffled[np.argsort(group[shuffled], kind="stable")]
    starts = np.flatnonzero(np.diff(group[by_group])) + 1
    groups = np.split(by_group, starts)
    return [groups[i] for i in rng.permutation(len(groups))]  # …and the groups too
