"""Git repositories, checked out or bare: the files of HEAD's commit, read from Git's own objects.

Not the working tree: what is committed has an identity and stays as it is while we read. The version of a
repository is its short commit. Symbolic links and submodules are not files.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO

import pyarrow as pa

from pipelines.schema import Shard
from pipelines.sources import repositories
from pipelines.sources.config import SourceConfig
from pipelines.sources.directory import existing_folder, subfolders
from pipelines.sources.repositories import Content, File, Repository, is_document, within_cap
from pipelines.sources.text import printable
from snowcoder.base import UserError

_REQUESTS = 256
"""Object names sent at once: few enough for the buffer of a pipe (64 KiB), so that neither side blocks."""


def shards(cfg: SourceConfig, seed: int) -> list[Shard]:
    folders = dict.fromkeys(folder for path in cfg.paths for folder in _checkouts(path))
    found = ((root, _repository(root, name, cfg)) for root, name in folders)
    return repositories.plan(found, cfg, seed)


def read(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    contents = partial(_contents, shard.uri, limit=cfg.max_document_bytes)
    return repositories.read(shard, cfg, lambda name: _repository(shard.uri, name, cfg), contents)


def _checkouts(path: str) -> list[tuple[str, str]]:
    """(parent folder, name) of the repository at `path`, or of those directly in it."""
    root = existing_folder(path)
    if _is_repository(root):
        return [os.path.split(root)]
    found = [(root, name) for name in subfolders(root) if _is_repository(os.path.join(root, name))]
    if not found:
        raise UserError(f"{path}: neither a Git repository nor a folder of them; correct source.paths")
    return found


def _is_repository(folder: str) -> bool:
    bare = all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs"))
    return bare or os.path.exists(os.path.join(folder, ".git"))


def _command(folder: str, *arguments: str) -> list[str]:
    return ["git", "-C", folder, "--no-optional-locks", *arguments]


def _environment() -> dict[str, str]:
    # A partial clone would fetch each missing object over the network, one by one.
    return {**os.environ, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _git(folder: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            _command(folder, *arguments),
            capture_output=True,
            check=False,
            env=_environment(),
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise UserError(
            "git: not installed; install it, or read the folder with source.kind=directory"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise UserError(f"{folder}: git {arguments[0]} failed ({said}); repair the checkout or leave it out")
    return done.stdout


def _repository(root: str, key: str, cfg: SourceConfig) -> Repository:
    folder = os.path.join(root, key)
    commit = _git(folder, "rev-parse", "--verify", "HEAD").decode().strip()
    files = []
    # Each entry: "<mode> <type> <object> <size>\t<path>\0", size "BAD" when the object is missing.
    for entry in _git(folder, "ls-tree", "-r", "-l", "-z", commit).split(b"\0")[:-1]:
        facts, _, name = entry.partition(b"\t")
        mode, kind, blob, size = facts.decode().split()
        path = printable(name)
        if kind == "blob" and mode != "120000" and is_document(path, cfg.languages):
            files.append(File(path, int(size) if size.isdigit() else 0, blob, blob))
    return Repository(
        key=key,
        name=f"{printable(key).removesuffix('.git')}@{commit[:12]}",
        license="",
        state=commit,
        files=within_cap(files, cfg.max_bytes_per_repository),
    )


def _contents(root: str, repository: Repository, files: Sequence[File], *, limit: int) -> Iterator[Content]:
    """Blobs in order from one `git cat-file --batch`; those larger than `limit` are not asked for."""
    process = subprocess.Popen(
        _command(os.path.join(root, repository.key), "cat-file", "--batch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
    )
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None:
        raise RuntimeError("git cat-file was started without its pipes")
    try:
        for start in range(0, len(files), _REQUESTS):
            asked = files[start : start + _REQUESTS]
            requests.write(b"".join(file.handle.encode() + b"\n" for file in asked if file.size <= limit))
            requests.flush()
            for file in asked:
                yield _blob(answers, file) if file.size <= limit else (None, "too_large")
    except BrokenPipeError as error:
        raise UserError(
            f"{root}/{repository.key}: git cat-file stopped; repair the checkout or leave it out"
        ) from error
    finally:
        requests.close()
        answers.close()
        process.wait()


def _blob(answers: IO[bytes], file: File) -> Content:
    """One answer: "<object> blob <size>\\n<content>\\n", or "<object> missing\\n"."""
    if answers.readline().split()[1:2] != [b"blob"]:
        return None, "unreadable"
    content = answers.read(file.size)
    answers.read(1)
    return content, None
