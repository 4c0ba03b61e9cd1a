"""Validation during training: bits per byte of held-out code by language, and of benchmarks' solutions.

Held out are whole shards at the front of the judging order. They are judged like all others and before them, so their
documents own their duplicate keys: a near duplicate of one, later in the order, is rejected as such and never trained
on. They are in no phase's training order. (The tokenizer is trained on a sample that may hold them.)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmh3
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.benchmarks import Task, load
from evaluation.bits_per_byte import bits_per_byte
from pipelines.curation import kept_documents
from pipelines.phases.corpus import curate
from snowcoder.base import UserError
from snowcoder.files import write_atomically
from train.validation import Validation

if TYPE_CHECKING:
    from snowcoder.run import Run

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Scorer:
    """What a model is asked. Names of figures: `held_out` over all languages, `held_out/LANGUAGE`, each benchmark."""

    documents: Path  # Parquet with `lang` and `text`; absent: none held out
    tokenizer: Path
    benchmarks: tuple[str, ...]
    data_dir: Path | None

    @cached_property
    def tasks(self) -> dict[str, list[Task]]:
        found: dict[str, list[Task]] = defaultdict(list)
        if self.documents.exists():
            for number, row in enumerate(pq.read_table(self.documents).to_pylist()):
                found[f"{HELD_OUT}/{row['lang']}"].append(as_task(number, row["text"], row["lang"]))
        for name in self.benchmarks:
            found[name] = [task for task in load(name, self.data_dir) if task.canonical_solution]
        return found

    def __call__(self, model: Any) -> dict[str, float]:
        """Bits per byte; lower is better."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer, local_files_only=True)
        figures: dict[str, float] = {}
        bits = size = 0.0
        for name, tasks in self.tasks.items():
            found = bits_per_byte(model, tokenizer, tasks)
            figures[name] = found.value
            if name.startswith(f"{HELD_OUT}/"):
                bits, size = bits + found.value * found.bytes, size + found.bytes
        return figures | ({HELD_OUT: bits / size} if size else {})


def as_task(number: int, text: str, lang: str) -> Task:
    """A document as something whose every byte is to be predicted, from nothing."""
    return Task(
        benchmark=HELD_OUT,
        task_id=f"{HELD_OUT}/{number}",
        prompt="",
        entry_point="",
        canonical_solution=text,
        test="",
        language=lang,
    )


def validation(run: Run) -> Validation | None:
    """As the configuration asks for it; None where it asks for nothing. Judges the held-out shards if need be."""
    cfg = run.config.validation
    if not cfg.held_out_shards and not cfg.benchmarks:
        return None
    documents = run.root / "validation" / "documents.parquet"
    if cfg.held_out_shards:
        write_held_out(run, documents)
    directory = run.config.curation.benchmarks_dir
    scorer = Scorer(documents, run.tokenizer(), cfg.benchmarks, Path(directory) if directory else None)
    return Validation(scorer, cfg.every_checkpoints, cfg.cpus, cfg.gpus)


def write_held_out(run: Run, path: Path) -> None:
    """The documents that are asked, once a run: by language those of the lowest hash, cut at `document_bytes`."""
    cfg, corpus = run.config.validation, run.corpus
    shards = corpus.shards[: cfg.held_out_shards]
    wanted = {"config": cfg.model_dump(mode="json"), "shards": [shard.prefix for shard in shards]}
    record = path.with_suffix(".json")
    if path.exists() and record.exists() and json.loads(record.read_text()) == wanted:
        return
    if len(shards) == len(corpus.shards):
        raise UserError(
            f"validation.held_out_shards: {cfg.held_out_shards} of {len(corpus.shards)} shards leave none to train on; "
            "lower it or source.shard_bytes"
        )
    for _ in curate(corpus, shards):
        pass
    by_language: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for shard in shards:
        for table in kept_documents(shard, corpus.curation):
            for lang, text in zip(table["lang"].to_pylist(), table["text"].to_pylist(), strict=True):
                cut = text.encode()[: cfg.document_bytes].decode(errors="ignore")
                if cut:
                    by_language[lang].append((mmh3.hash64(text, signed=False)[0], cut))
    rows = [
        {"lang": lang, "text": text}
        for lang, found in sorted(by_language.items())
        for _, text in sorted(found)[: cfg.documents_per_language]
    ]
    _write(path, rows)
    write_atomically(record, json.dumps(wanted, indent=1).encode())


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    sink = pa.BufferOutputStream()
    schema = pa.schema([("lang", pa.string()), ("text", pa.large_string())])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    write_atomically(path, sink.getvalue())
