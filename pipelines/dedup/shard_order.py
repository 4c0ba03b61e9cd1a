"""The order in which shards are claimed when the best repositories shall keep their copies.

Keep-first keeps the copy of the shard that is claimed first, so preference between shards is an order of shards. It is
known before any text is read: from the repositories in each shard, and what is known of those.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.preference import preference_order
from pipelines.schema import Shard
from pipelines.sources.repository_facts import FACTS, RepositoryFacts
from snowcoder.base import UserError


def preferred(
    shards: Sequence[Shard], repositories: Sequence[Sequence[str]], facts: RepositoryFacts, cfg: DedupConfig
) -> list[Shard]:
    """The shards by the best of their repositories, ties in the order given; `repositories[i]` are those of shard i.

    Of `cfg.prefer` only stars and date are known of a repository; the others order documents inside a shard.
    """
    known = [name for name in cfg.prefer if name in FACTS]
    if missing := [name for name in known if name not in facts.names]:
        raise UserError(f"dedup.prefer: {missing[0]}: source.facts.columns names no column for it")
    of_shard = np.repeat(np.arange(len(shards)), [len(names) for names in repositories])
    names = pa.array([name for names in repositories for name in names], pa.string())
    best = of_shard[preference_order(facts.of(names), known)]
    ranked, first = np.unique(best, return_index=True)
    place = np.full(len(shards), len(best))  # a shard without repositories comes last
    place[ranked] = first
    return [shards[i] for i in np.argsort(place, kind="stable")]
