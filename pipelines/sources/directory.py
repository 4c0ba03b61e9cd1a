"""Folders of source code on a local disk: each folder at a configured depth is a repository.

Files above that depth belong to a repository named after the folder they lie in. Symbolic links are not
followed (they may lead out of the root), and the folders of version control systems are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from pipelines.schema import Shard
from pipelines.sources import repositories
from pipelines.sources.config import SourceConfig
from pipelines.sources.repositories import File, Repository, is_document, local_contents, within_cap
from pipelines.sources.text import printable
from snowcoder.base import UserError

VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", "CVS"})


def shards(cfg: SourceConfig, seed: int) -> list[Shard]:
    roots = dict.fromkeys(existing_folder(path) for path in cfg.paths)
    keys = ((root, key) for root in roots for key in _keys(root, "", cfg.repository_depth))
    return repositories.plan(((root, _repository(root, key, cfg)) for root, key in keys), cfg, seed)


def read(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    find = partial(_repository, shard.uri, cfg=cfg)
    return repositories.read(shard, cfg, find, partial(local_contents, limit=cfg.max_document_bytes))


def existing_folder(path: str) -> str:
    """The absolute path of a folder. Raises UserError when it is none."""
    root = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(root):
        raise UserError(f"{path}: no such folder; correct source.paths")
    return root


def subfolders(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted, without links and version control."""
    return sorted(entry.name for entry in _scan(folder) if _is_folder(entry))


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{printable(folder)}: cannot be listed ({error.strerror}); check access") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and entry.name not in VERSION_CONTROL


def _keys(root: str, key: str, depth: int) -> Iterator[str]:
    yield key
    if depth:
        for name in subfolders(os.path.join(root, key)):
            yield from _keys(root, os.path.join(key, name), depth - 1)


def _repository(root: str, key: str, cfg: SourceConfig) -> Repository:
    depth = len(key.split("/")) if key else 0
    files = _files(os.path.join(root, key) if key else root, recursive=depth == cfg.repository_depth)
    return Repository(
        key=key,
        name=printable(key or os.path.basename(root)),
        license="",
        state="",
        files=within_cap(
            (f for f in files if is_document(f.path, cfg.languages)), cfg.max_bytes_per_repository
        ),
    )


def _files(folder: str, recursive: bool) -> Iterator[File]:
    pending = [""]  # a stack, not recursion: how deep a tree goes is its author's choice
    while pending:
        prefix = pending.pop()
        for entry in _scan(os.path.join(folder, prefix)):
            if entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                path = printable(prefix + entry.name)
                yield File(path, status.st_size, entry.path, str(status.st_mtime_ns))
            elif recursive and _is_folder(entry):
                pending.append(f"{prefix}{entry.name}/")
