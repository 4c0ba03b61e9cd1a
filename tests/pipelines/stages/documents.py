"""DOCUMENT tables for the tests of the stages, and how much memory judging one takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import pyarrow as pa

from pipelines.schema import DOCUMENT


def documents(
    texts: Sequence[str | None],
    lang: str | Sequence[str | None] = "Python",
    path: str | Sequence[str] = "src/file.py",
    fault: Sequence[str | None] | None = None,
) -> pa.Table:
    """One row per text; a plain string for `lang` or `path` holds for all rows."""
    n = len(texts)
    return pa.table(
        {
            "row": pa.array(range(100, 100 + n), pa.int32()),
            "repo": ["repo"] * n,
            "path": [path] * n if isinstance(path, str) else list(path),
            "lang": [lang] * n if isinstance(lang, str) else list(lang),
            "license": ["MIT"] * n,
            "size": pa.array([len((text or "").encode()) for text in texts], pa.int64()),
            "text": pa.array(texts, pa.large_string()),
            "fault": pa.array(fault or [None] * n, pa.string()),
        },
        schema=DOCUMENT,
    )


# A result's buffers go back to the pool they came from, whenever that is.
_POOLS: list[pa.MemoryPool] = []


def peak_bytes(run: Callable[[], pa.Table]) -> tuple[pa.Table, int]:
    """What `run` gives, and the most that NumPy, Python and Arrow had allocated for it at once."""
    default = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(default)
    _POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        result = run()
        return result, tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(default)
