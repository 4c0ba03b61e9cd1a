"""Writing a file so that nobody ever sees half of it. A leaf, like `snowcoder.base`: every room may import it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from snowcoder.base import UserError

Buffer = Any
"""bytes, memoryview, pyarrow.Buffer: whatever a file takes."""


def write_atomically(path: Path, data: str | Buffer) -> None:
    """All of the file or none of it, also when the disk fills or the process is killed half way.

    Raises UserError when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free the disk or choose another --out"
        ) from error
