"""What tree-like sources share: repositories of files, planned by size, read again by the same listing.

The manifest records which repositories a shard holds, not which files: the reader lists them again, and the
shard's fingerprint says whether the listing is still the same. A repository larger than `shard_bytes` is cut
into runs of its files, in path order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import mmh3
import pyarrow as pa

from pipelines.language import candidates, detect
from pipelines.schema import Shard, stable_hash
from pipelines.sources.config import SourceConfig
from pipelines.sources.packing import Piece, check_unchanged, pack, runs, seeded_order, take_within
from pipelines.sources.text import Documents


class File(NamedTuple):
    path: str  # inside the repository, valid Unicode
    size: int
    handle: str  # what opens it: a path of the file system, a Git object
    state: str = ""  # what says that the content is the same, besides the size


@dataclass(frozen=True, slots=True)
class Repository:
    key: str  # what finds it again
    name: str  # "name@version", or a folder
    license: str
    state: str  # version of the whole, as the source tells it
    files: tuple[File, ...]  # those to read, by path


Content = tuple[bytes | None, str | None]
"""(bytes, None) or (None, fault)."""


def is_document(path: str, languages: tuple[str, ...]) -> bool:
    """Whether a file of this name may be in one of `languages`; none given: in any known one."""
    found = candidates(path)
    return any(lang in languages for lang in found) if languages else bool(found)


def within_cap(files: Iterable[File], cap: int | None) -> tuple[File, ...]:
    """The files of a repository that are read, by path: all, or those that fit under `cap` bytes.

    Languages take turns, so that a giant's few headers are not lost among its thousands of modules. Inside a
    language the order is a hash of folder and name: stable, mixed, and the same where a copy is vendored elsewhere.
    """
    if cap is None:
        return tuple(sorted(files))
    turn: Counter[tuple[str, ...]] = Counter()
    order: list[tuple[int, int, File]] = []
    for file in sorted(files, key=_mixed):
        lang = candidates(file.path)
        turn[lang] += 1
        order.append((turn[lang], len(order), file))
    return tuple(sorted(take_within([file for *_, file in sorted(order)], cap, lambda file: file.size)))


def _mixed(file: File) -> tuple[int, str]:
    name = "/".join(file.path.split("/")[-2:])
    return mmh3.hash64(name.encode(), signed=False)[0], file.path


def plan(found: Iterable[tuple[str, Repository]], cfg: SourceConfig, seed: int) -> list[Shard]:
    """The unnumbered shards of (root, repository) pairs: in a seeded order, whole ones under `max_bytes`."""
    sized: list[tuple[str, int, list[Piece]]] = []
    for uri, repository in found:
        if not repository.files:
            continue
        state = listing_state(repository)
        pieces = [
            Piece(uri, [repository.key, start, stop], repository.name, total, state)
            for start, stop, total in runs([file.size for file in repository.files], cfg.shard_bytes)
        ]
        sized.append((f"{uri}/{repository.key}", sum(piece.bytes for piece in pieces), pieces))
    ordered = seeded_order(sized, seed, lambda item: item[0])
    taken = take_within(ordered, cfg.max_bytes, lambda item: item[1])
    return pack([piece for _, _, pieces in taken for piece in pieces], cfg, cfg.kind)


def listing_state(repository: Repository) -> str:
    return stable_hash([repository.state, [[file.path, file.size, file.state] for file in repository.files]])


def read(
    shard: Shard,
    cfg: SourceConfig,
    find: Callable[[str], Repository],
    contents: Callable[[Repository, Sequence[File]], Iterator[Content]],
) -> Iterator[pa.Table]:
    """The files of a shard's repositories: `find` lists one by its key, `contents` reads files in order.

    Raises UserError when a repository is no longer what the manifest saw.
    """
    part: list[tuple[str, int, int]] = json.loads(shard.part)
    found = {key: find(key) for key in dict.fromkeys(key for key, _, _ in part)}
    states = {key: listing_state(repository) for key, repository in found.items()}
    check_unchanged(shard, cfg, [states[key] for key, _, _ in part])
    documents = Documents(cfg.notebooks)
    for key, start, stop in part:
        repository = found[key]
        files = repository.files[start:stop]
        for file, (content, fault) in zip(files, contents(repository, files), strict=True):
            yield from documents.add(
                content,
                path=file.path,
                repo=repository.name,
                lang=detect(file.path, content or b""),
                license=repository.license,
                size=file.size,
                fault=fault,
            )
    yield from documents.finish()


def local_contents(repository: Repository, files: Sequence[File], *, limit: int) -> Iterator[Content]:
    """Read local files of at most `limit` bytes; a larger one is not opened."""
    for file in files:
        if file.size > limit:
            yield None, "too_large"
            continue
        try:
            with open(file.handle, "rb", buffering=0) as opened:
                content = opened.read(file.size)
        except OSError:
            yield None, "unreadable"
            continue
        yield content, None
