"""The request plan and the request ledger: what was asked, and what was answered.

A *request* is one question to the generator: (seed document, recipe, sample). Requests are ordered by that
triple and cut into chunks. The plan holds the questions as chat messages, the ledger the answers, one Parquet
object per chunk in each. An answer is a fact: once it is recorded it is read back, never generated again, so
the training rows made from it are the same after any restart.

Whoever has questions for a model can use it: `question_tables` -> `Plan.write` -> `generate` -> `read_ledger`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import stable_hash
from pipelines.synthesis.config import SamplingConfig
from snowcoder.base import UserError
from snowcoder.files import write_atomically

Messages = list[dict[str, str]]
"""A chat: {"role": ..., "content": ...} each."""

_ASKED = [
    pa.field("ordinal", pa.int64()),  # place in the order of requests, from 0
    pa.field("seed", pa.int64()),
    pa.field("recipe", pa.string()),
    pa.field("step", pa.int8()),  # of the recipe, from 0
    pa.field("sample", pa.int32()),
    pa.field("lang", pa.string()),  # of the file that is asked for
    pa.field("prompt_hash", pa.string()),  # of the template and the chat messages; "" without a prompt
    pa.field("sampling", pa.string()),  # vLLM SamplingParams as JSON, the request's own seed included
]
REQUEST = pa.schema(
    [
        *_ASKED,
        pa.field("messages", pa.large_string()),  # the chat as JSON; null exactly when `error` is set
        pa.field("snippet", pa.large_string()),  # what of the seed is shown; null when nothing is
        pa.field("source_lang", pa.string()),  # of the seed, where that is not `lang`
        pa.field("error", pa.string()),  # why there is nothing to ask ("no_snippet"), else null
    ]
)
RESPONSE = pa.schema(
    [
        *_ASKED,
        pa.field("model", pa.string()),  # the configured generator
        pa.field("revision", pa.string()),  # of that model: a commit, a package's version; "" where unknown
        pa.field("model_hash", pa.string()),  # of what answered (`Engine.model_hash`)
        pa.field("prompt_tokens", pa.int32()),
        pa.field("output_tokens", pa.int32()),
        pa.field("finish", pa.string()),  # "stop" or "length"; null when `error` is set
        pa.field("text", pa.large_string()),  # as generated; null when `error` is set
        pa.field("error", pa.string()),  # "no_snippet", "prompt_too_long: …", "inference: …", else null
    ]
)

_METADATA = b"snowcoder"
_CHUNK_FILE = re.compile(r"(\d{8})\.parquet")
_SUMMARY = "plan.json"


@dataclass(frozen=True, slots=True)
class Question:
    """One request before it has its place: what it is about, and what is asked."""

    seed: int  # id of what it is about, e.g. `schema.ordinal(shard, row)`
    recipe: str
    lang: str
    messages: Messages | None  # None: `error` says why there is nothing to ask
    template: str = ""  # hash of the template that made the messages
    sample: int = 0
    step: int = 0
    snippet: str | None = None
    source_lang: str | None = None
    error: str | None = None


def request_id(seed: int, recipe_name: str, sample: int) -> str:
    """Name of a request in audits and document paths; unique within a run."""
    return f"{seed:016x}-{recipe_name}-{sample}"


def question_tables(
    questions: Iterable[Question], sampling: SamplingConfig, root: int, chunk_requests: int
) -> Iterator[pa.Table]:
    """Questions as chunks of schema REQUEST. They must ascend by (seed, recipe, sample): ValueError otherwise.

    Each gets a sampling seed of its own, a hash of `root` and of what it is.
    """
    rows: list[dict[str, Any]] = []
    last: tuple[int, str, int] = (-1, "", 0)
    for ordinal, question in enumerate(questions):
        place = (question.seed, question.recipe, question.sample)
        if place <= last:
            raise ValueError(
                f"request {place} after {last}: they must ascend, or the order of requests is not fixed"
            )
        last = place
        rows.append(_request(ordinal, question, sampling, root))
        if len(rows) == chunk_requests:
            yield pa.Table.from_pylist(rows, schema=REQUEST)
            rows = []
    if rows:
        yield pa.Table.from_pylist(rows, schema=REQUEST)


def _request(ordinal: int, question: Question, sampling: SamplingConfig, root: int) -> dict[str, Any]:
    drawn = f"{root}:{question.seed}:{question.recipe}:{question.sample}:{question.step}"
    seed = mmh3.hash64(drawn, signed=False)[0] & 0x7FFFFFFF
    messages = question.messages
    return {
        "ordinal": ordinal,
        "seed": question.seed,
        "recipe": question.recipe,
        "step": question.step,
        "sample": question.sample,
        "lang": question.lang,
        "prompt_hash": "" if messages is None else stable_hash([question.template, messages]),
        "sampling": json.dumps(sampling.parameters(seed), sort_keys=True),
        "messages": None if messages is None else json.dumps(messages),
        "snippet": question.snippet,
        "source_lang": question.source_lang,
        "error": question.error,
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests of a run, on disk: `<chunk:08d>.parquet` of schema REQUEST and a summary written last."""

    directory: Path
    chunks: int
    requests: int

    @classmethod
    def write(cls, tables: Iterable[pa.Table], directory: Path, key: str) -> Plan:
        """Plan once; a second call with the same `key` reads the plan and leaves `tables` (schema REQUEST) alone.

        `key` names whatever decides the questions. Raises UserError when the directory holds another plan.
        """
        summary_path = directory / _SUMMARY
        if summary_path.is_file():
            summary = json.loads(summary_path.read_text())
            if summary["key"] != key:
                raise UserError(
                    f"{summary_path}: the plan was made with other seeds or another synthesis config; "
                    "restore them, or use a new run directory"
                )
            return cls(directory, summary["chunks"], summary["requests"])
        directory.mkdir(parents=True, exist_ok=True)
        chunks = requests = 0
        for chunk, table in enumerate(tables):
            commit_chunk(directory, chunk, table, content_key(table))
            chunks, requests = chunk + 1, requests + table.num_rows
        write_atomically(
            summary_path, json.dumps({"key": key, "chunks": chunks, "requests": requests}).encode()
        )
        return cls(directory, chunks, requests)

    @property
    def plan_key(self) -> str:
        """The key it was written with."""
        return json.loads((self.directory / _SUMMARY).read_text())["key"]

    def load(self, chunk: int) -> pa.Table:
        return read_chunk(self.directory, chunk)

    def rows(self, chunk: int) -> int:
        return pq.read_metadata(self.directory / chunk_name(chunk)).num_rows

    def key(self, chunk: int) -> str:
        """Hash of the chunk's questions."""
        return _chunk_key(self.directory / chunk_name(chunk))


def content_key(requests: pa.Table) -> str:
    """Hash of the questions of a chunk: whatever changes an answer changes it."""
    return stable_hash([requests[field.name].to_pylist() for field in _ASKED])


def chunk_name(chunk: int) -> str:
    return f"{chunk:08d}.parquet"


def commit_chunk(directory: Path, chunk: int, table: pa.Table, key: str) -> Path:
    """Write a chunk so that it is there whole or not at all: a temporary file beside it, flushed, renamed."""
    metadata = json.dumps({"stage": "requests", "chunk": chunk, "rows": table.num_rows, "key": key}).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({_METADATA: metadata}), sink, compression="zstd")
    target = directory / chunk_name(chunk)
    write_atomically(target, sink.getvalue())
    return target


def committed_chunks(directory: Path) -> dict[int, str]:
    """Committed chunks in order, each with its key. Leftovers of a killed writer do not count."""
    if not directory.is_dir():
        return {}
    names = sorted(entry.name for entry in directory.iterdir())
    return {
        int(match[1]): _chunk_key(directory / name)
        for name in names
        if (match := _CHUNK_FILE.fullmatch(name))
    }


def read_chunk(directory: Path, chunk: int) -> pa.Table:
    """A committed chunk, rows by ordinal. Raises UserError when it is absent."""
    path = directory / chunk_name(chunk)
    if not path.is_file():
        raise UserError(
            f"{path}: chunk {chunk} was never committed; run synthesis again, it fills what is missing"
        )
    return pq.read_table(path, memory_map=False).replace_schema_metadata(None)


def read_ledger(directory: Path) -> Iterator[pa.Table]:
    """Committed chunks in order, one in memory at a time."""
    for chunk in committed_chunks(directory):
        yield read_chunk(directory, chunk)


def responses(
    requests: pa.Table, answers: Mapping[int, dict[str, Any]], model: str, revision: str, model_hash: str
) -> pa.Table:
    """Join a chunk's requests with their answers (by ordinal; keys as in RESPONSE) into the ledger's rows."""
    found = [answers[ordinal] for ordinal in requests["ordinal"].to_pylist()]
    rows = requests.num_rows
    columns = {field.name: requests[field.name] for field in _ASKED}
    for name, value in (("model", model), ("revision", revision), ("model_hash", model_hash)):
        columns[name] = pa.array(np.full(rows, value))
    for name in ("prompt_tokens", "output_tokens", "finish", "text", "error"):
        columns[name] = pa.array([answer[name] for answer in found], RESPONSE.field(name).type)
    return pa.table(columns).cast(RESPONSE)


def _chunk_key(path: Path) -> str:
    return json.loads(pq.read_schema(path).metadata[_METADATA])["key"]
