"""Where checkpoints live: a directory of the local file system, S3, GCS or whatever else pyarrow opens.

Object stores have no rename: what must appear whole is one object (`write`), and a directory is never trusted
because it exists, only because a pointer names it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from snowcoder.base import UserError
from snowcoder.files import write_atomically

if TYPE_CHECKING:
    from pyarrow import fs

T = TypeVar("T")

_HOPELESS = ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH")

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between tries
_HICCUP = 5.0  # seconds that a first look at a store is tried again


class Storage:
    """A directory by path or URI ("s3://bucket/run"). Cheap to send to another process.

    Args:
        root: path or URI.
        patience: seconds for which a store that does not answer is asked again.

    Every method raises UserError, naming the place, when the store refuses for longer than that.
    """

    def __init__(self, root: str | Path, patience: float = 300.0):
        self.root, self.patience = str(root).rstrip("/"), patience

    def __truediv__(self, name: str) -> Storage:
        place, options, query = self.root.partition("?") if self.local is None else (self.root, "", "")
        return Storage(f"{place.rstrip('/')}/{name}{options}{query}", self.patience)

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "patience": self.patience}

    @property
    def local(self) -> Path | None:
        """The directory itself where it is on the local (or a mounted) file system."""
        return None if "://" in self.root else Path(self.root)

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        from pyarrow import fs

        if self.local is not None:
            return fs.LocalFileSystem(), str(self.local.absolute())
        try:
            return fs.FileSystem.from_uri(self.root)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.root}: not a store that can be opened ({_line(error)}); give a path or an s3:// or gs:// URI"
            ) from error

    def read(self, name: str) -> bytes | None:
        """The bytes of one object, None when it is absent."""
        system, root = self._opened

        def get() -> bytes | None:
            try:
                with system.open_input_stream(f"{root}/{name}") as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

        return self._patiently(f"read {name}", get)

    def write(self, name: str, data: bytes) -> None:
        """One object, whole or not at all."""
        if self.local is not None:
            path = self.local / name
            self._patiently(f"write {name}", lambda: write_atomically(path, data))
            return
        system, root = self._opened

        def put() -> None:
            with system.open_output_stream(f"{root}/{name}") as stream:
                stream.write(data)

        self._patiently(f"write {name}", put)

    def upload(self, directory: Path, name: str) -> None:
        """Copy the files of a local directory into directory `name`, which others may be filling too."""
        from pyarrow import fs

        system, root = self._opened
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            target = f"{root}/{name}/{path.relative_to(directory).as_posix()}"

            def copy(path: Path = path, target: str = target) -> None:
                system.create_dir(target.rpartition("/")[0], recursive=True)
                fs.copy_files(str(path), target, fs.LocalFileSystem(), system)

            self._patiently(f"upload {path.name}", copy)

    def download(self, name: str, directory: Path) -> None:
        """Copy directory `name` into a local one."""
        from pyarrow import fs

        system, root = self._opened
        directory.mkdir(parents=True, exist_ok=True)
        self._patiently(
            f"download {name}",
            lambda: fs.copy_files(f"{root}/{name}", str(directory), system, fs.LocalFileSystem()),
        )

    def names(self, name: str = "") -> list[str]:
        """What lies directly in directory `name`, sorted; [] when there is no such directory."""
        from pyarrow import fs

        system, root = self._opened
        selector = fs.FileSelector(f"{root}/{name}".rstrip("/"), allow_not_found=True)
        found = self._patiently(f"list {name}", lambda: system.get_file_info(selector))
        return sorted(info.base_name for info in found)

    def delete(self, name: str) -> None:
        """Delete directory `name` if it is there."""
        system, root = self._opened

        def remove() -> None:
            with suppress(FileNotFoundError):
                system.delete_dir(f"{root}/{name}")

        self._patiently(f"delete {name}", remove)

    def check_writable(self) -> None:
        """Write and read one small object: what is wrong with a store shows now and not at the first checkpoint."""
        # Not at the first lost connection: no more than a few seconds, though, for what will not get better.
        impatient = Storage(self.root, patience=min(self.patience, _HICCUP))
        impatient.write(".writable", b"yes")
        if impatient.read(".writable") != b"yes":
            raise UserError(f"{self.root}: what is written there cannot be read back; choose another store")

    def _patiently(self, what: str, action: Callable[[], T]) -> T:
        """The action, tried again while the store is away. Not where waiting cannot help (disk full, no permission)."""
        deadline, pause = time.monotonic() + self.patience, _FIRST_PAUSE
        while True:
            try:
                return action()
            except (PermissionError, UserError):
                raise
            except OSError as error:
                # The local system's word, or one of a remote store that waiting does not change.
                hopeless = error.errno is not None or any(word in str(error) for word in _HOPELESS)
                if hopeless or time.monotonic() + pause > deadline:
                    raise UserError(
                        f"{self.root}: cannot {what} ({_line(error)}); "
                        "free space, check credentials and network, and run again: it goes on from the last checkpoint"
                    ) from error
                log.warning(
                    "%s: cannot %s (%s); trying again in %.0f s", self.root, what, _line(error), pause
                )
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
