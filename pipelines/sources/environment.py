"""The code of the Python environment that runs: each installed distribution is a repository.

Any machine that can run the project has it: tens of megabytes in many languages, with licences, and with
natural duplicates, since packages carry copies of one another. The files are those that a distribution's
RECORD lists and that exist, without the distribution's own metadata.
"""

from __future__ import annotations

import csv
import os
import re
import stat
import sysconfig
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import Distribution
from io import StringIO
from pathlib import Path

import pyarrow as pa

from pipelines.schema import Shard, stable_hash
from pipelines.sources import repositories
from pipelines.sources.config import SourceConfig
from pipelines.sources.licenses import of_core_metadata
from pipelines.sources.repositories import File, Repository, is_document, local_contents, within_cap
from snowcoder.base import UserError

PROJECT = "snowcoder"
URI = "environment"


def shards(cfg: SourceConfig, seed: int) -> list[Shard]:
    excluded = {_normal(name) for name in (PROJECT, *cfg.exclude)}
    found: dict[str, Path] = {}
    for folder in _site_packages():
        for info in sorted(folder.glob("*.dist-info")):
            name = info.stem.rpartition("-")[0]
            if _normal(name) not in excluded:
                found.setdefault(info.stem, info)
    return repositories.plan(((URI, _repository(info, cfg)) for info in found.values()), cfg, seed)


def read(shard: Shard, cfg: SourceConfig) -> Iterator[pa.Table]:
    def find(key: str) -> Repository:
        for folder in _site_packages():
            if (info := folder / f"{key}.dist-info").is_dir():
                return _repository(info, cfg)
        raise UserError(
            f"{URI}: {key} is in the manifest and not installed here; install it or rebuild the manifest"
        )

    return repositories.read(shard, cfg, find, partial(local_contents, limit=cfg.max_document_bytes))


@cache
def _site_packages() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(Path(path) for path in dict.fromkeys((paths["purelib"], paths["platlib"])))


def _repository(info: Path, cfg: SourceConfig) -> Repository:
    distribution = Distribution.at(info)
    record = distribution.read_text("RECORD") or ""
    metadata = distribution.metadata
    return Repository(
        key=info.stem,
        name=f"{metadata['Name']}@{metadata['Version']}",
        license=of_core_metadata(metadata),  # type: ignore[arg-type]  # an email.message.Message at run time
        state=stable_hash(record),
        files=within_cap(_files(info, record, cfg.languages), cfg.max_bytes_per_repository),
    )


def _files(info: Path, record: str, languages: tuple[str, ...]) -> Iterator[File]:
    root = str(info.parent)
    for fields in csv.reader(StringIO(record)):
        path = fields[0] if fields else ""
        # Scripts (../../bin) are the installer's; the .dist-info folder is about the code, not code.
        if path.startswith(("..", "/", f"{info.name}/")) or not is_document(path, languages):
            continue
        try:
            status = os.lstat(f"{root}/{path}")
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield File(path, status.st_size, f"{root}/{path}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
