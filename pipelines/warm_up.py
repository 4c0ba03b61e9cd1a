"""Compile every kernel once, so that no first run and no worker waits for it: `python -m pipelines.warm_up`.

Takes about a minute of processor time, and nothing when all is compiled.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pyarrow as pa

from pipelines.dedup.claim import claim_shard
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.dedup.keys import ShardKeys
from pipelines.language import PAPER_LANGUAGES
from pipelines.schema import DOCUMENT
from pipelines.sequences.config import FimConfig, SequencesConfig
from pipelines.sequences.interleave import Interleaver
from pipelines.sequences.shard_rows import ShardFiles, packed_rows
from pipelines.sequences.tokenizer import CodeTokenizer, train_tokenizer
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.chain import StagesConfig, text_stages
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.stored_index import store

_TEXT = """# SPDX-License-Identifier: MIT
import sys

def f(x):
    password = "correct horse battery staple 17"  # jane@corporation.net
    return [y * x for y in range(10) if y > 2] + ["ä", 0x1F]
"""


def warm_up() -> None:
    """Judge a few lines in every language of the paper with all rules, make their keys, claim and pack them."""
    langs = [*PAPER_LANGUAGES, "HTML", "JSON", ""]
    count = len(langs)
    columns = {
        "row": range(count),
        "repo": ["r"] * count,
        "path": [f"f{i}" for i in range(count)],
        "lang": langs,
        "license": ["MIT"] * count,
        "size": [len(_TEXT)] * count,
        "text": [f"{_TEXT}# {i}\n" for i in range(count)],
        "fault": [None] * count,
    }
    documents = pa.table(columns).cast(DOCUMENT)
    measured = RulesConfig(measure=("markup", "words", "repetition", "lexical", "dump"))
    cfg, dedup = StagesConfig(rules=measured), DedupConfig(partitions=1, expected_documents=1000)
    with tempfile.TemporaryDirectory() as directory:
        for stage in text_stages(
            cfg, store(BenchmarkIndex.build([_Task()], cfg.decontaminate), Path(directory))
        ):
            verdicts = stage.judge(documents, {})
            if stage.amend:
                stage.amend(documents, verdicts)
    keys = ShardKeys(dedup)
    keys.add(documents)
    rows, made = keys.finish()
    claim_shard(0, rows, made, Index(LocalPartitions(dedup)), dedup)
    _pack(documents)


def _pack(documents: pa.Table) -> None:
    """The same lines as rows, end to end and by best fit with fill-in-the-middle."""
    with tempfile.TemporaryDirectory() as directory:
        tokenizer = CodeTokenizer(train_tokenizer([_TEXT], 512, Path(directory)))
    fim = FimConfig(rate=0.5)
    for cfg in (SequencesConfig(seq_len=64), SequencesConfig(seq_len=64, packing="best_fit", fim=fim)):
        files = ShardFiles.read([documents], tokenizer, cfg)
        packed_rows(files, tokenizer, cfg, seed=0, epoch=0, shard=0)
    interleaver = Interleaver(window=2, total=2)
    interleaver.tell([2, 1])
    interleaver.draw(3)


class _Task:
    benchmark, task, language, prompt, solution = "none", "none/0", "Python", _TEXT, _TEXT


if __name__ == "__main__":
    start = time.perf_counter()
    warm_up()
    print(f"kernels are compiled ({time.perf_counter() - start:.0f} s)")
