"""What is known of repositories from outside their files: stars, and when they last changed.

They come as a table of their own, one row a repository or one a file (the largest value counts), and are kept as one
sorted array of repository hashes, which every process maps into memory instead of loading it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pydantic import Field, field_validator

from pipelines.sources.files import damage, list_files
from snowcoder.base import Config, UserError
from snowcoder.files import write_atomically

Fact = Literal["stars", "date"]
FACTS: dict[Fact, pa.DataType] = {"stars": pa.int64(), "date": pa.timestamp("s")}
_FORMATS: dict[str, Literal["parquet", "csv", "json"]] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "json",
}


class RepositoryFactsConfig(Config):
    """Where stars and dates of repositories are found. Without paths nothing is known of any."""

    paths: tuple[str, ...] = ()
    """Parquet, CSV or JSON Lines files, or folders of one kind of them."""

    columns: dict[str, str] = Field(default_factory=lambda: {"repo": "repo", "stars": "stars"})
    """repo, stars, date -> column of the table. `repo` is named as in the source's documents; `date` is a timestamp,
    a date, seconds since 1970 or ISO 8601. The Stack v2, for example: {repo: repo_name, stars: star_events_count,
    date: revision_date}."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(columns) - {"repo", *FACTS}):
            raise ValueError(f"columns: no fact {unknown[0]!r}; there are repo, {', '.join(FACTS)}")
        if "repo" not in columns or len(columns) < 2:
            raise ValueError("columns: say which column names the repository, and stars or date")
        return columns


class RepositoryFacts:
    """Facts by name of repository, from the file that `write_facts` made."""

    def __init__(self, path: str | Path):
        self._path = str(path)

    @cached_property
    def _table(self) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(self._path)).read_all()

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return RepositoryFacts, (self._path,)  # to other processes goes the name, not the table

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def names(self) -> list[str]:
        """Which facts there are."""
        return self._table.column_names[1:]

    @cached_property
    def fingerprint(self) -> str:
        return f"{mmh3.hash128(Path(self._path).read_bytes(), signed=False):032x}"

    def of(self, repos: pa.Array | pa.ChunkedArray) -> pa.Table:
        """A row for each name: the facts there are, null where the repository is not in the table."""
        encoded = repos.cast(pa.string()).fill_null("").dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        hashes = _hashes(encoded.dictionary)
        known = self._table["repo"].to_numpy()
        at = np.minimum(np.searchsorted(known, hashes), max(len(known) - 1, 0))
        found = known[at] == hashes if len(known) else np.zeros(len(hashes), bool)
        rows = pa.array(at, mask=~found).take(encoded.indices)
        return self._table.select(self.names).take(rows)


def write_facts(cfg: RepositoryFactsConfig, path: Path) -> RepositoryFacts:
    """Read the tables of `cfg`, take the largest of each fact by repository, and write them sorted to `path`.

    Raises UserError for a missing or damaged table or column, or a column of another type.
    """
    parts = [_read(file.uri, cfg) for file in list_files(cfg.paths, tuple(_FORMATS))]
    names = [name for name in FACTS if name in cfg.columns]
    table = pa.concat_tables(parts).group_by("repo").aggregate([(name, "max") for name in names])
    table = table.rename_columns(["repo", *names]).sort_by("repo").combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, sink.getvalue())
    return RepositoryFacts(path)


def _read(uri: str, cfg: RepositoryFactsConfig) -> pa.Table:
    with damage(uri):
        data = ds.dataset(uri.removeprefix("file://"), format=_FORMATS[Path(uri).suffix])
        for fact, column in cfg.columns.items():
            if column not in data.schema.names:
                raise UserError(
                    f"{uri}: no column {column!r} for {fact!r}; there are {', '.join(data.schema.names)}: "
                    f"correct source.facts.columns.{fact}"
                )
        table = data.to_table(columns={fact: ds.field(column) for fact, column in cfg.columns.items()})
    repo = table["repo"].cast(pa.string()).dictionary_encode().combine_chunks()
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "repo": pa.array(_hashes(repo.dictionary)).take(repo.indices)
    }
    for fact, kind in FACTS.items():
        if fact in cfg.columns:
            try:
                columns[fact] = _as_seconds(table[fact]) if fact == "date" else table[fact].cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise UserError(
                    f"{uri}: column {cfg.columns[fact]!r} is {table[fact].type}, {fact!r} needs {kind} ({error}): "
                    f"correct source.facts.columns.{fact}"
                ) from error
    return pa.table(columns).filter(pc.greater(pc.fill_null(pc.binary_length(table["repo"]), 0), 0))


def _as_seconds(dates: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any date as a timestamp in UTC; ISO 8601 with or without fractions and zone."""
    if pa.types.is_string(dates.type):
        zoned = pc.any(pc.match_substring_regex(dates, r"(Z|[+-]\d\d:?\d\d)$")).as_py()
        dates = dates.cast(pa.timestamp("us", "UTC") if zoned else pa.timestamp("us"))
    return pc.cast(dates, FACTS["date"], safe=False)


def _hashes(names: pa.Array) -> np.ndarray:
    return np.array([mmh3.hash64(name, signed=False)[0] for name in names.to_pylist()], np.uint64)
