"""Pure kernels over Arrow buffers, compiled by numba at first use and kept for the next process.

Numba keys a compiled function to its own file only: after an update of a function that it calls in another file, the
old machine code would go on being used. So the cache has a folder per state of all our kernels.
"""

from __future__ import annotations

import os
from pathlib import Path

import mmh3
import numba


def _cache_folder() -> str:
    room = Path(__file__).parent.parent
    sources = sorted([*room.glob("kernels/*.py"), *room.glob("dedup/*.py"), *room.glob("sequences/*.py")])
    state = mmh3.hash128(b"".join(path.read_bytes() for path in sources), signed=False)
    root = os.environ.get("NUMBA_CACHE_DIR", "")
    if root.endswith(f"{state:032x}"):  # inherited from the process that started this one
        return root
    cache = Path(os.environ.get("SNOWCODER_CACHE", Path.home() / ".cache" / "snowcoder"))
    return str((Path(root) if root else cache / "numba") / f"{state:032x}")


os.environ["NUMBA_CACHE_DIR"] = _cache_folder()
numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]
