"""`snowcoder store-index`: the near-duplicate index of a judged corpus, to deduplicate other corpora against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.curation import is_claimed
from pipelines.dedup.claim import rebuild
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.snapshot import load_index, save_index
from pipelines.operators import rehash_all
from snowcoder.base import UserError
from snowcoder.progress import say, track

if TYPE_CHECKING:
    from snowcoder.run import Run


def store_index(run: Run, folder: Path) -> None:
    """Write the near-duplicate index of all judged shards, to deduplicate other corpora against (`dedup.against`).

    Built again from the ledger and the source. UserError when a shard is not judged or the folder is not empty.
    """
    curation, shards = run.corpus.curation, run.corpus.shards
    missing = [shard.shard for shard in shards if not is_claimed(shard, curation)]
    if missing:
        raise UserError(
            f"{run.root}: {len(missing)} shards are not judged yet; run `snowcoder curate` with it first"
        )
    run.start_ray()
    below = [load_index(folder, curation.dedup) for folder in curation.dedup.against]
    index = Index(LocalPartitions(curation.dedup), below)
    hashed = track(rehash_all(list(shards), curation), len(shards), "shards hashed")
    rebuild(index, hashed, curation.dedup)
    save_index(index, folder, curation.dedup, run=run.config.name, shards=len(shards))
    say(f"index: {sum(part['documents'] for part in index.stats()):,} documents in {folder}")
