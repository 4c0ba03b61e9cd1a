"""What was read before a position is compared with what the ledger says now."""

from __future__ import annotations

import pytest

from pipelines.sequences.history import HISTORY, check_history
from pipelines.sequences.order import Order, seek
from snowcoder.base import UserError

ORDER = Order((0, 1, 2, 3, 4), epochs=2, seed=7)


def look(tmp_path, position, content="abcde", accept=False):
    found = seek(ORDER, 2, position, 4, lambda shard: 6)
    check_history(tmp_path, ORDER, found, lambda shard: content[shard], accept)
    return (tmp_path / HISTORY).read_text().splitlines()


def test_history_grows_and_is_compared(tmp_path):
    first = look(tmp_path, 1)
    assert 0 < len(first) < 5
    more = look(tmp_path, 5)
    assert more[: len(first)] == first
    assert look(tmp_path, 1) == more  # going back to an older checkpoint forgets nothing
    with pytest.raises(
        UserError, match=r"entry 1 of the order was shard 1 with content b and is now shard 1 with x"
    ):
        look(tmp_path, 5, "axcde")
    # What comes after the position may still change.
    assert look(tmp_path, 1, "abcdx") == more
    assert '"x"' in look(tmp_path, 5, "axcde", accept=True)[1]
