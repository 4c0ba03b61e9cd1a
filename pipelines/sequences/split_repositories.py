"""Whether a source's order can give training documents by repository: which repositories lie in several shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipelines.schema import Shard
from pipelines.sequences.config import SequencesConfig
from snowcoder.base import UserError

MOST_READ = 512  # shards of which the repositories are looked up, where that takes reading


@dataclass(frozen=True)
class Split:
    """Counted over the shards that were looked at."""

    repositories: int
    split: int  # of these, in more than one shard
    shards: int

    @property
    def share(self) -> float:
        return self.split / self.repositories if self.repositories else 0.0


def split_repositories(shards: Sequence[Shard], repositories: Callable[[Shard], Iterable[str]]) -> Split:
    """Count repositories by the number of shards that hold them. Repositories without a name are none.

    Of a source with more than `MOST_READ` shards only whole files are looked at, the first by name: shards of one file
    are what a repository is split over, and they are apart in the seeded order.
    """
    looked = sorted(shards, key=lambda shard: (shard.uri, shard.part))
    if len(looked) > MOST_READ:
        last = looked[MOST_READ - 1].uri
        looked = [shard for shard in looked if shard.uri < last] or looked[:MOST_READ]
    counts = Counter(name for shard in looked for name in set(repositories(shard)) if name)
    return Split(len(counts), sum(count > 1 for count in counts.values()), len(looked))


def check_grouping(cfg: SequencesConfig, found: Split) -> None:
    """Raises UserError when the source's order cannot give the training documents that `cfg.group` asks for."""
    if cfg.group == "file":
        return
    if not found.repositories:
        raise UserError(
            f"sequences.group: {cfg.group}: the source names no repositories in {found.shards} shards; "
            "map a column to source.columns.repo, or set sequences.group: file"
        )
    if found.share > cfg.max_split_repositories:
        raise UserError(
            f"sequences.group: {cfg.group}: {found.share:.1%} of {found.repositories:,} repositories lie in several "
            f"shards ({found.split:,}, in {found.shards:,} shards looked at), more than "
            f"sequences.max_split_repositories {cfg.max_split_repositories:.1%}; "
            "sort the source by repository, raise source.shard_bytes, or set sequences.group: file"
        )
