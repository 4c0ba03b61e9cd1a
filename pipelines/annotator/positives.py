"""Positives for the annotator: files of good, problem-solving packages, and answers of instruction data.

Archives are read as they were downloaded (`requirements/positives.lock`), nothing is installed or unpacked. A
text that holds a piece of a benchmark is never a positive: the scores must not know what we measure with. Of copies
and near-copies one is kept, so that no split can have them on both sides.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import json
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import mmh3
import numpy as np
import pyarrow as pa

from pipelines import language
from pipelines.annotator.config import PositivesConfig, PositiveSource
from pipelines.annotator.copies import Copies
from pipelines.annotator.quality import SourceUse
from snowcoder.base import UserError

POSITIVE = pa.schema(
    [
        ("text", pa.large_string()),
        ("lang", pa.string()),  # "" when unknown
        ("group", pa.string()),  # what may be alike: one folder of a package, or one row; never split
        ("source", pa.string()),  # provenance: archive or file name
        ("path", pa.string()),  # place inside it: member path, or row number from 1
        ("hash", pa.string()),  # `text_hash` in hexadecimal
    ]
)

Contaminated = Callable[[list[str]], Sequence[object | None]]
"""For each text, evidence of a benchmark hit, or None."""

_DOWNLOAD = "run `pip download --no-deps --only-binary :all: -r requirements/positives.lock -d DIRECTORY`"
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)


class Positive(NamedTuple):
    text: str
    lang: str
    group: str
    source: str
    path: str


@dataclass
class PositivesReport:
    """read = kept + everything in `dropped`."""

    read: int = 0
    kept: Counter[str] = field(default_factory=Counter)  # by file
    dropped: Counter[str] = field(default_factory=Counter)  # by first reason
    sources: list[SourceUse] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # titles of optional sources that are not there


Scored = Callable[[PositiveSource], Iterator[Positive]]
"""Positives of kind "annotator", which need a run."""


def load_positives(
    cfg: PositivesConfig, contaminated: Contaminated, seed: int = 0, scored: Scored | None = None
) -> tuple[pa.Table, PositivesReport]:
    """All positives of schema POSITIVE; copies, near-copies and benchmark hits dropped and counted.

    Raises UserError for a source that is absent, unreadable or gives nothing.
    """
    if not cfg.sources:
        raise UserError(
            "annotator.positives.sources: empty; name archives or instruction data with good code"
        )
    report = PositivesReport()
    seen, copies = set[bytes](), Copies()
    kept: list[Positive] = []
    present = {source.title for source in cfg.sources if not source.optional or _is_there(source)}
    for number, source in enumerate(cfg.sources):
        if source.stands_in_for in present and source.stands_in_for:
            continue
        if source.title not in present:
            report.absent.append(source.title)
            continue
        dropped: Counter[str] = Counter()
        found: list[Positive] = []
        read = 0
        for positive in _read(source, scored):
            read += 1
            if reason := _unfit(positive.text, cfg, seen):
                dropped[reason] += 1
            else:
                found.append(positive)
        hits = contaminated([positive.text for positive in found])
        clean = [positive for positive, hit in zip(found, hits, strict=True) if hit is None]
        dropped["contaminated"] = len(found) - len(clean)
        new = copies.new([positive.text for positive in clean])
        dropped["near_duplicate"] = int((~new).sum())
        clean = [positive for positive, own in zip(clean, new, strict=True) if own]
        if not clean:
            raise UserError(
                f"annotator.positives.sources[{number}]: no usable positive in {source.paths[:3] or source.title}"
            )
        limits = [limit for limit in (source.max_documents, cfg.max_per_source) if limit]
        chosen = _sample(clean, min(limits, default=0), seed)
        dropped["not_sampled"] = len(clean) - len(chosen)
        report.read += read
        report.dropped.update(dropped)
        report.kept.update(positive.source for positive in chosen)
        report.sources.append(
            SourceUse(
                name=source.title,
                kind=source.kind,
                role="positive",
                read=read,
                kept=len(chosen),
                dropped={reason: count for reason, count in sorted(dropped.items()) if count},
                stands_in_for=source.stands_in_for,
                sha256={file.name: _sha256(file) for file in (_files(source) if source.paths else [])},
            )
        )
        kept += chosen
    if not kept:
        raise UserError(
            f"annotator.positives.sources: none of {', '.join(report.absent)} is there; download one of them"
        )
    columns = [*zip(*kept, strict=True), [text_hash(positive.text).hex() for positive in kept]]
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, POSITIVE.types, strict=True)],
                    schema=POSITIVE), report  # fmt: skip


def text_hash(text: str) -> bytes:
    """128-bit hash of a text without its outer white space: what counts as an exact copy."""
    return mmh3.hash_bytes(text.strip())


def code_of(answer: str) -> tuple[str, str]:
    """(code, tag) of an answer in Markdown: its fenced blocks, one after the other, and the first one's tag.

    An answer without a fence is taken to be code, with tag "".
    """
    blocks = _FENCE.findall(answer)
    if not blocks:
        return answer, ""
    return "\n\n".join(body.rstrip("\n") for _, body in blocks) + "\n", blocks[0][0]


_NAMED = re.compile(
    r"(?<![\w+#.])(?:(C\+\+|C#|Python|Java|JavaScript|TypeScript|Rust|Ruby|PHP|Kotlin|Scala|Swift|Dart|SQL|HTML|CSS)"
    r"|(C|Go|R|Bash|Shell)(?=\s+(?:program|function|code|script|method|struct|snippet|command)))(?![\w+#])"
)


def named_language(question: str) -> str:
    """The one language that a question names ("Write a C++ program that ..."), "" for none or several.

    Names that are also words or letters (Go, C, R) count before a word like "program".
    """
    named = {language.canonical(strong or weak) for strong, weak in _NAMED.findall(question)}
    return named.pop() if len(named) == 1 else ""


def _unfit(text: str, cfg: PositivesConfig, seen: set[bytes]) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair
        return "not_unicode"
    if size < cfg.min_bytes:
        return "too_short"
    if size > cfg.max_bytes:
        return "too_long"
    key = text_hash(text)
    if key in seen:
        return "duplicate"
    seen.add(key)
    return ""


def _sample(positives: list[Positive], limit: int, seed: int) -> list[Positive]:
    if not limit or len(positives) <= limit:
        return positives
    chosen = np.random.default_rng(seed).choice(len(positives), limit, replace=False)
    return [positives[i] for i in np.sort(chosen)]


def _is_there(source: PositiveSource) -> bool:
    return source.kind == "annotator" or all(Path(path).exists() for path in source.paths)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(source: PositiveSource, scored: Scored | None) -> Iterator[Positive]:
    if source.kind == "annotator":
        if scored is None:
            raise UserError("annotator.positives: sources of kind annotator need a run with that annotator")
        yield from scored(source)
        return
    for path in _files(source):
        try:
            yield from (_archive if source.kind == "archive" else _instructions)(path, source)
        except (
            OSError,
            EOFError,
            zlib.error,
            zipfile.BadZipFile,
            tarfile.TarError,
            pa.ArrowInvalid,
        ) as error:
            raise UserError(f"{path}: not readable ({error}); download it again") from error


def _files(source: PositiveSource) -> list[Path]:
    suffixes = (".whl", ".zip", ".tar.gz", ".tgz") if source.kind == "archive" else ()
    files: list[Path] = []
    for path in map(Path, source.paths):
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [
            file for file in inside if file.is_file() and (not suffixes or file.name.endswith(suffixes))
        ]
        if not files:
            remedy = _DOWNLOAD if source.kind == "archive" else "give a JSONL, JSON or Parquet file"
            raise UserError(f"annotator.positives: nothing at {path}; {remedy}")
    return files


def _archive(path: Path, source: PositiveSource) -> Iterator[Positive]:
    name = "-".join(path.name.removesuffix(".tar.gz").removesuffix(".zip").split("-")[:2])
    for member, content in _members(path):
        langs = language.candidates(member)
        excluded = any(fnmatch.fnmatch(member, glob) for glob in source.exclude)
        if excluded or not set(langs) & set(source.languages):
            continue
        raw = content()
        lang = language.detect(member, raw)
        if lang in source.languages:
            folder = member.rpartition("/")[0]
            yield Positive(raw.decode("utf-8", "replace"), lang, f"{name}/{folder}", name, member)


def _members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(path inside, how to read it) of each file, in a fixed order."""
    if path.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(name for name in archive.namelist() if not name.endswith("/")):
                yield name, partial(archive.read, name)
    else:
        with tarfile.open(path, "r:gz") as tar:
            for entry in tar:
                if entry.isfile() and (content := tar.extractfile(entry)):
                    yield entry.name.partition("/")[2], content.read


def _instructions(path: Path, source: PositiveSource) -> Iterator[Positive]:
    for number, record in enumerate(_records(path, source), 1):
        answer = record.get(source.text_field) if isinstance(record, dict) else None
        if not isinstance(answer, str):
            raise UserError(
                f"{path}: row {number} has no text in {source.text_field!r}; "
                "set text_field to the column of answers"
            )
        code, tag = code_of(answer) if source.code == "fences" else (answer, "")
        said = record.get(source.language_field) or "" if source.language_field else tag
        group = f"row {number}" if not source.group_field else str(record.get(source.group_field))
        lang = language.canonical(str(said)) or source.language
        if not lang and source.task_field and source.code == "fences":
            lang = named_language(str(record.get(source.task_field) or ""))
        yield Positive(code, lang, f"{path.name}/{group}", path.name, str(number))


def _records(path: Path, source: PositiveSource) -> Iterator[Any]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        wanted = {source.text_field, source.language_field, source.group_field, source.task_field}
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in wanted]
            for batch in file.iter_batches(1024, columns=columns):
                yield from batch.to_pylist()
        return
    with _open_text(path) as file:
        try:
            if ".jsonl" in path.suffixes:
                yield from (json.loads(line) for line in file if line.strip())
            else:
                records = json.load(file)
                yield from records if isinstance(records, list) else [records]
        except ValueError as error:
            raise UserError(
                f"{path}: not JSON in UTF-8 ({error}); use JSONL, a JSON list or Parquet"
            ) from error


def _open_text(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
