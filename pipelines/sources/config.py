"""What to read and how: the configuration of one source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipelines.language import canonical
from pipelines.schema import stable_hash
from pipelines.sources.repository_facts import RepositoryFactsConfig
from snowcoder.base import Config

COLUMN_FIELDS = ("text", "path", "repo", "lang", "license")


class SourceConfig(Config):
    """One source. Which files of it are documents depends on its kind.

    Table-like kinds (`parquet`, `jsonl`): every row is a document. Tree-like kinds (`environment`,
    `directory`, `git`, `archive`): every regular file whose name stands for one of `languages` is a document;
    other files, and symbolic links, are not candidates and leave no row.
    """

    kind: Literal["environment", "parquet", "jsonl", "directory", "git", "archive"] = "environment"
    """Where the text lies. `environment`: the distributions of the running interpreter's site-packages."""

    paths: tuple[str, ...] = ()
    """Files or folders (searched through), local or as a URI that pyarrow knows (s3://, gs://). For
    `directory` a path holds repositories, for `git` it is a checkout or holds checkouts. Not used by
    `environment`."""

    columns: dict[str, str] = Field(default_factory=lambda: {"text": "text"})
    """`parquet` and `jsonl`: document field (text, path, repo, lang, license) -> column of the source. A
    field that is not named stays empty; a missing `lang` is told from the path."""

    languages: tuple[str, ...] = ()
    """Tree-like kinds: which languages make a file a document; empty: every known one. By name alone, so a
    header that could be C is a candidate when C is asked for, though its content may turn out to be C++."""

    exclude: tuple[str, ...] = ()
    """`environment`: distributions to leave out besides this project, such as packaged models and
    benchmarks."""

    repository_depth: int = Field(default=1, ge=0)
    """`directory`: how many folders below a path name a repository. 0: the path itself is one."""

    shard_bytes: int = Field(default=48 << 20, gt=0)
    """Bytes of text to aim at in a shard."""

    max_bytes: int | None = Field(default=None, gt=0)
    """Cap on the whole source, in bytes. Repositories (files, row-group ranges and archives in the other
    kinds) are taken whole, in a seeded order, each one that still fits. None: everything."""

    max_bytes_per_repository: int | None = Field(default=None, gt=0)
    """`environment`, `directory`, `git`: bytes taken of one repository, so that a giant does not eat
    `max_bytes`. The files are those that fit, tried in the order of a hash of their path, so that folders and
    languages mix."""

    max_document_bytes: int = Field(default=16 << 20, gt=0)
    """A larger document is a row with the fault "too_large", and its text is not kept."""

    notebooks: Literal["script", "json"] = "script"
    """What the text of a Jupyter notebook is: its cells as a script (StarCoder2), or the JSON as stored, with
    outputs and all. A notebook that cannot be read is a row with the fault "bad_notebook"."""

    max_expansion: int = Field(default=200, gt=0)
    """`archive`, and compressed `jsonl`: how many times its stored size (at least 1 MiB is counted) an
    archive may unpack to. Beyond that it is a bomb: reading stops there, with a row whose fault is
    "expansion"."""

    facts: RepositoryFactsConfig = RepositoryFactsConfig()
    """Stars and dates of repositories, for `curation.dedup.prefer` and `curation.dedup.order`."""

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(columns) - set(COLUMN_FIELDS)):
            raise ValueError(
                f"columns: no document field {unknown[0]!r}; there are {', '.join(COLUMN_FIELDS)}"
            )
        if "text" not in columns:
            raise ValueError("columns: say which column holds the text, for example {text: content}")
        return columns

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for name in languages:
            if not canonical(name):
                raise ValueError(f"languages: {name!r} is not known; see LANGUAGES in pipelines/language.py")
        return tuple(canonical(name) for name in languages)

    @model_validator(mode="after")
    def _has_paths(self) -> SourceConfig:
        if self.kind != "environment" and not self.paths:
            raise ValueError(f"paths: a source of kind {self.kind!r} needs at least one")
        return self

    def reading(self) -> str:
        """Hash of what decides which rows a shard yields. Part of every shard's fingerprint."""
        deciding = {
            "columns", "languages", "repository_depth",
            "max_bytes_per_repository", "max_document_bytes", "max_expansion", "notebooks",
        }  # fmt: skip
        return stable_hash(self.model_dump(mode="json", include=deciding))

    def fingerprint(self, content: object) -> str:
        """A shard's fingerprint: the state of its `content` (JSON-able) and the way it is read."""
        return stable_hash([self.reading(), content])
