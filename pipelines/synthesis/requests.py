"""The request plan and the request ledger: what was asked, and what was answered.

A *request* is one question to the generator: (seed document, recipe, sample). Requests are ordered by that
triple and cut into chunks. The plan holds the questions, the ledger the answers, one Parquet object per chunk
in each. An answer is a fact: once its chunk is committed it is read back, never generated again, so the
training rows made from it are the same after any restart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import stable_hash
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.prompts import choose_snippet, recipe
from snowcoder.base import UserError
from snowcoder.files import write_atomically

# What a seed document is, for `plan_requests`. Rows ascend by `seed`.
SEED = pa.schema(
    [
        ("seed", pa.int64()),  # `schema.ordinal(shard, row)` of the document
        ("lang", pa.string()),
        ("text", pa.large_string()),
    ]
)

_ASKED = [
    pa.field("ordinal", pa.int64()),  # place in the order of requests, from 0
    pa.field("seed", pa.int64()),
    pa.field("recipe", pa.string()),
    pa.field("sample", pa.int32()),
    pa.field("lang", pa.string()),
    pa.field("prompt_hash", pa.string()),  # of the chat messages and the template; "" without a prompt
    pa.field("sampling", pa.string()),  # vLLM SamplingParams as JSON, the request's own seed included
]
REQUEST = pa.schema(
    [
        *_ASKED,
        pa.field("snippet", pa.large_string()),  # null exactly when `error` is set
        pa.field("error", pa.string()),  # why there is nothing to ask ("no_snippet"), else null
    ]
)
RESPONSE = pa.schema(
    [
        *_ASKED,
        pa.field("model", pa.string()),  # the configured generator
        pa.field("model_hash", pa.string()),  # `models.fingerprint` of the directory that answered
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


def request_id(seed: int, recipe_name: str, sample: int) -> str:
    """Name of a request in audits and document paths; unique within a run."""
    return f"{seed:016x}-{recipe_name}-{sample}"


def plan_requests(seeds: Iterable[pa.Table], config: SynthesisConfig) -> Iterator[pa.Table]:
    """Chunks of requests, in (seed, recipe, sample) order. `seeds`: tables of schema SEED, ascending; one is
    held.

    Every (seed, recipe, sample) gives a row, also those that cannot be asked, so that the accounting is
    exact.
    """
    recipes = [recipe(name) for name in sorted(set(config.recipes))]
    rows: list[dict[str, Any]] = []
    ordinal = 0
    last_seed = -1
    for table in seeds:
        for seed, lang, text in zip(*(table[name].to_pylist() for name in SEED.names), strict=True):
            if seed <= last_seed:
                raise ValueError(
                    f"seed {seed} after {last_seed}: seeds must ascend, or the order of requests is not fixed"
                )
            last_seed = seed
            for template in recipes:
                for sample in range(config.samples):
                    snippet = choose_snippet(text, seed, sample, config.seed, config.snippet)
                    draw = mmh3.hash64(f"{config.seed}:{seed}:{template.name}:{sample}", signed=False)[0]
                    rows.append(
                        {
                            "ordinal": ordinal,
                            "seed": seed,
                            "recipe": template.name,
                            "sample": sample,
                            "lang": lang,
                            "prompt_hash": prompt_hash(template.name, snippet, lang) if snippet else "",
                            "sampling": json.dumps(
                                config.sampling.parameters(draw & 0x7FFFFFFF), sort_keys=True
                            ),
                            "snippet": snippet,
                            "error": None if snippet else "no_snippet",
                        }
                    )
                    ordinal += 1
                    if len(rows) == config.chunk_requests:
                        yield pa.Table.from_pylist(rows, schema=REQUEST)
                        rows = []
    if rows:
        yield pa.Table.from_pylist(rows, schema=REQUEST)


def prompt_hash(recipe_name: str, snippet: str, language: str) -> str:
    """Hash of the template and of the messages it renders to."""
    template = recipe(recipe_name)
    return stable_hash([template.hash, template.messages(snippet, language)])


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests of a run, on disk: `<chunk:08d>.parquet` of schema REQUEST and a summary written last."""

    directory: Path
    chunks: int
    requests: int

    @classmethod
    def write(
        cls, seeds: Iterable[pa.Table], config: SynthesisConfig, directory: Path, seeds_key: str = ""
    ) -> Plan:
        """Plan once; a second call with the same config and `seeds_key` reads the plan and leaves `seeds`
        alone.

        `seeds_key` names what chose the seeds (e.g. the selection's key). Raises UserError when the directory
        holds another plan.
        """
        relevant = config.model_dump(include={"samples", "chunk_requests", "seed", "snippet", "sampling"})
        recipes = {name: recipe(name).hash for name in config.recipes}
        key = stable_hash([relevant, recipes, seeds_key])
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
        for chunk, table in enumerate(plan_requests(seeds, config)):
            commit_chunk(directory, chunk, table, content_key(table))
            chunks, requests = chunk + 1, requests + table.num_rows
        write_atomically(
            summary_path, json.dumps({"key": key, "chunks": chunks, "requests": requests}).encode()
        )
        return cls(directory, chunks, requests)

    def load(self, chunk: int) -> pa.Table:
        return read_chunk(self.directory, chunk)

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
    requests: pa.Table, answers: dict[int, dict[str, Any]], model: str, model_hash: str
) -> pa.Table:
    """Join a chunk's requests with their answers (by ordinal; keys as in RESPONSE) into the ledger's rows."""
    found = [answers[ordinal] for ordinal in requests["ordinal"].to_pylist()]
    rows = requests.num_rows
    columns = {field.name: requests[field.name] for field in _ASKED}
    columns["model"] = pa.array(np.full(rows, model))
    columns["model_hash"] = pa.array(np.full(rows, model_hash))
    for name in ("prompt_tokens", "output_tokens", "finish", "text", "error"):
        columns[name] = pa.array([answer[name] for answer in found], RESPONSE.field(name).type)
    return pa.table(columns).cast(RESPONSE)


def _chunk_key(path: Path) -> str:
    return json.loads(pq.read_schema(path).metadata[_METADATA])["key"]
