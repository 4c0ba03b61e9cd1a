"""What a phase has read so far, entry by entry, so that a restart can tell whether it still reads the same.

The position is a count: it means the same rows only while the shards before it give the same sequences. Their
content hashes are written down when training passes them, and compared with the ledger's at each start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pipelines.sequences.order import Order, Seek
from snowcoder.base import UserError
from snowcoder.files import write_atomically

HISTORY = "order.jsonl"


def check_history(
    phase_dir: Path, order: Order, found: Seek, content: Callable[[int], str | None], accept: bool = False
) -> None:
    """Compare the entries opened before the position with what was written down of them, and write down the rest.

    `content(shard)` is the ledger's hash of a shard's tokens. Raises UserError naming the first entry that is
    another one, unless `accept`: then the history begins anew.
    """
    path = phase_dir / HISTORY
    entries = order.entries()[: found.interleaver.opened]
    now = [{"epoch": epoch, "shard": shard, "content": content(shard)} for epoch, shard in entries]
    before = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if not accept:
        for number, (was, is_) in enumerate(zip(before, now, strict=False)):
            if was != is_:
                raise UserError(
                    f"{path}: entry {number} of the order was shard {was['shard']} with content {was['content']} and "
                    f"is now shard {is_['shard']} with {is_['content']}; restore the ledger, start a new run "
                    "directory, or accept it with --accept-new-data"
                )
        now += before[len(now) :]
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in now))
