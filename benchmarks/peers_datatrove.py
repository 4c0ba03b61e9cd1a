"""datatrove's sides: the rules as its filters, its n-gram decontamination, and its pipeline on local tasks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.decont.n_grams import NGramsDecontFilter, NGramsDecontIndexer
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.logging import logger

from benchmarks.peers_python import RULES, Rule, rows
from evaluation.benchmarks import BenchmarkText


class RuleFilter(BaseFilter):
    """One rule as a filter."""

    def __init__(self, rule: Rule):
        self.name = rule.__name__
        super().__init__()
        self.rule = rule

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        if self.rule(doc.text, doc.metadata["lang"], doc.metadata["path"]):
            return False, self.name
        return True


class PlainWords:
    """Splits at white space; takes the place of datatrove's word tokenizer."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def documents(sample: str) -> list[Document]:
    return [
        Document(text, str(i), metadata={"lang": lang, "path": path})
        for i, (text, lang, path) in enumerate(rows(sample))
    ]


def run_steps(steps: Iterable[PipelineStep], docs: list[Document]) -> list[Document]:
    """What an executor does with the steps of one task, without its files."""
    data: Any = iter(docs)
    for step in steps:
        data = step(data)
    return list(data)


def rules(sample: str) -> Callable[[Any], list[bool]]:
    """A side: which documents the filters keep. A filter sees what the filters before it kept."""
    docs = documents(sample)

    def run(_: Any) -> list[bool]:
        kept = {doc.id for doc in run_steps(map(RuleFilter, RULES), docs)}
        return [doc.id in kept for doc in docs]

    return run


def decontamination(sample: str, known: list[BenchmarkText], plain_words: bool) -> Callable[[Any], int]:
    """A side: how many documents share a 12-gram of words with a task (datatrove's defaults).

    The index is made with datatrove's own hashes of its n-grams, without its index step, which needs lighteval even
    for tasks that are given to it.
    """
    logger.remove()
    folder = tempfile.mkdtemp(prefix="datatrove-index-")
    step = NGramsDecontFilter(folder)
    if plain_words:
        step.tokenizer = PlainWords()
    hashes: dict[str, set[int]] = {}
    for text in known:
        found = NGramsDecontIndexer.compute_hashes(step, text.solution, text.prompt)
        hashes.setdefault(text.benchmark, set()).update(found)
    for name, values in hashes.items():
        np.array(sorted(values), np.uint64).tofile(f"{folder}/{name}.index.hashes")
    step.load_index_hashes()
    shutil.rmtree(folder)
    docs = documents(sample)
    return lambda _: len(docs) - len(run_steps([step], docs))


TASKS = 2


def pipeline(plain_words: bool) -> Callable[[str], int]:
    """A side: rules, then near duplicates in four steps, over the Parquet files of a folder -> documents kept.

    Two tasks on two workers; 14 bands of 8 rows over 5-grams of words are datatrove's defaults. The rules' output is
    written once and read by the first and the last step; the last step's is only counted.
    """
    return partial(_pipeline, plain_words=plain_words)


def _pipeline(corpus: str, plain_words: bool) -> int:
    work = Path(tempfile.mkdtemp(prefix="datatrove-"))
    config = MinhashConfig()
    signatures = MinhashDedupSignature(str(work / "signatures"), config=config)
    if plain_words:
        signatures.word_tokenizer = PlainWords()

    def execute(name: str, tasks: int, *steps: PipelineStep) -> None:
        executor = LocalPipelineExecutor(
            list(steps), tasks=tasks, workers=min(tasks, TASKS), logging_dir=str(work / "logs" / name)
        )
        executor.run()

    def filtered() -> ParquetReader:
        return ParquetReader(str(work / "filtered"), text_key="text", id_key="id", glob_pattern="*.parquet")

    reader = ParquetReader(corpus, text_key="content", id_key="sha256", glob_pattern="*.parquet")
    output = ParquetWriter(str(work / "filtered"), output_filename="${rank}.parquet")
    count = CountFile(str(work / "kept"))
    os.makedirs(work / "kept")
    execute("rules", TASKS, reader, *map(RuleFilter, RULES), output)
    execute("signatures", TASKS, filtered(), signatures)
    buckets = MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)
    execute("buckets", config.num_buckets, buckets)
    execute("clusters", 1, MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config))
    execute("filter", TASKS, filtered(), MinhashDedupFilter(str(work / "remove")), count)
    kept = sum(int(path.read_text()) for path in (work / "kept").iterdir())
    shutil.rmtree(work)
    return kept


class CountFile(PipelineStep):
    """Counts what reaches it, one file per task."""

    name = "count"
    type = "count"

    def __init__(self, folder: str):
        super().__init__()
        self.folder = folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        n = 0
        for _ in data:
            n += 1
        Path(self.folder, str(rank)).write_text(str(n))
        yield from ()
