"""snowcoder's sides of the curation benchmark, and the corpus that both sides are given."""

from __future__ import annotations

import random
import shutil
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.benchmarks import BenchmarkText
from pipelines.schema import DOCUMENT
from pipelines.sources.text import TABLE_BYTES
from pipelines.stages.benchmark_index import BenchmarkIndex, DecontaminateConfig
from pipelines.stages.decontaminate import judge_contamination
from pipelines.stages.rules import judge_rules
from snowcoder.config import RunConfig, load_config

PRESETS = Path(__file__).resolve().parents[1] / "conf" / "presets"
COLUMNS = {"text": "content", "path": "path", "repo": "package", "lang": "lang", "license": "license"}
"""Document field -> column of the corpus."""


def preset(name: str, *overrides: str) -> RunConfig:
    return load_config(PRESETS / f"{name}.yaml", overrides)


# -- the corpus -------------------------------------------------------------------------------------------------------


def corpus_documents(folder: Path) -> pa.Table:
    """A corpus of `benchmarks.corpus` as one table of its columns."""
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def environment_documents() -> pa.Table:
    """The Python files of this environment in the corpus's columns, for who has built none."""
    root = Path(sysconfig.get_paths()["purelib"])
    rows = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        content = path.read_bytes().decode("utf-8", "ignore")
        row = {"path": name, "package": name.partition("/")[0], "lang": "Python", "license": ""}
        rows.append(row | {"sha256": name, "size": len(content.encode()), "content": content})
    return pa.Table.from_pylist(rows)


def sample(corpus: pa.Table, megabytes: float, seed: int = 0) -> pa.Table:
    """Documents of the corpus in a seeded random order, until there are this many megabytes."""
    order = list(range(corpus.num_rows))
    random.Random(seed).shuffle(order)
    sizes, left, taken = corpus["size"].to_pylist(), megabytes * 1e6, []
    for i in order:
        if left <= 0:
            break
        taken.append(i)
        left -= sizes[i]
    return corpus.take(taken)


def write_documents(corpus: pa.Table, path: Path) -> None:
    """As a table of schema DOCUMENT, in row groups of about what a source hands out at once."""
    columns = {field: corpus[column] for field, column in COLUMNS.items()}
    columns |= {"row": pa.array(range(corpus.num_rows)), "size": corpus["size"]}
    columns |= {"fault": pa.nulls(corpus.num_rows, pa.string())}
    table = pa.table(columns).select(DOCUMENT.names).cast(DOCUMENT)
    mean = max(1, pc.sum(corpus["size"]).as_py() // max(1, corpus.num_rows))
    pq.write_table(table, path, row_group_size=max(1, TABLE_BYTES // mean))


def write_parts(corpus: pa.Table, folder: Path, parts: int) -> None:
    """The same documents as a corpus of `parts` files: datatrove gives whole files to its tasks."""
    folder.mkdir(parents=True)
    step = -(-corpus.num_rows // parts)
    for part in range(parts):
        table = corpus.slice(part * step, step)
        pq.write_table(table, folder / f"part-{part:05d}.parquet", row_group_size=512)


# -- sides of one core ------------------------------------------------------------------------------------------------


def _tables(documents: str) -> list[pa.Table]:
    file = pq.ParquetFile(documents)
    return [file.read_row_group(i).cast(DOCUMENT) for i in range(file.num_row_groups)]


def rules(documents: str, name: str) -> Callable[[Any], list[bool]]:
    """A side: which documents the rules of a preset keep."""
    tables, cfg = _tables(documents), preset(name).curation.rules

    def run(_: Any) -> list[bool]:
        reasons = [judge_rules(table, cfg)["reason"] for table in tables]
        return [kept for reason in reasons for kept in pc.is_null(reason).to_pylist()]

    run(None)
    return run


def decontamination(documents: str, known: list[BenchmarkText]) -> Callable[[Any], int]:
    """A side: in how many documents a task is found."""
    tables, cfg = _tables(documents), DecontaminateConfig()
    index = BenchmarkIndex.build(known, cfg)

    def run(_: Any) -> int:
        return sum(
            table.num_rows - judge_contamination(table, index, cfg)["reason"].null_count for table in tables
        )

    run(None)
    return run


def stages(documents: str, known: list[BenchmarkText], name: str) -> Callable[[Any], dict[str, float]]:
    """A side: all text stages of a preset but the syntax check -> processor seconds by stage, and by
    "rules/GROUP" for each group of rules."""
    from pipelines.stages.chain import text_stages
    from pipelines.stages.stored_index import store

    cfg = preset(name, "curation.syntax=null").curation
    index = BenchmarkIndex.build(known, cfg.decontaminate)
    tables = _tables(documents)

    def run(_: Any) -> dict[str, float]:
        seconds: dict[str, float] = defaultdict(float)
        for docs in tables:
            for stage in chain:
                clock: dict[str, float] = defaultdict(float)
                start = time.process_time()
                verdicts = stage.verdicts(docs, None, clock)
                passed = pc.is_null(verdicts["reason"])
                docs = docs.filter(passed)
                if stage.amend is not None:
                    docs = stage.amend(docs, verdicts.filter(passed))
                seconds[stage.stage.name] += time.process_time() - start
                for group, spent in clock.items():
                    seconds[f"{stage.stage.name}/{group}"] += spent
        return dict(seconds)

    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        chain = text_stages(cfg, store(index, Path(folder)))
        run(None)  # opens the index, once for all
    return run


# -- through Ray ------------------------------------------------------------------------------------------------------


def curation(name: str, benchmarks_dir: str, cores: int) -> Callable[[str], int]:
    """A side: rules, decontamination, exact and near duplicates of the Parquet files of a folder, through Ray, as
    `snowcoder curate` does it -> documents kept. Each run has a ledger of its own."""
    off = [f"curation.{stage}=null" for stage in ("language", "licence", "syntax", "secrets")]
    config = preset(
        name,
        *off,
        f"curation.benchmarks_dir={benchmarks_dir}",
        "curation.allow_missing_benchmarks=true",
        f"ray.num_cpus={cores}",
    )
    run = partial(_curate, config)
    from snowcoder.run import Run

    with tempfile.TemporaryDirectory() as work:
        Run(config, work).start_ray()
    return run


def _curate(config: RunConfig, corpus: str) -> int:
    from pipelines.curation import kept_rows
    from pipelines.sources.config import SourceConfig
    from snowcoder.run import Run

    source = SourceConfig(kind="parquet", paths=(corpus,), columns=COLUMNS)
    work = tempfile.mkdtemp(prefix="curate-")
    try:
        run = Run(config.model_copy(update={"source": source}), work)
        run.curate()
        return sum(len(kept_rows(shard, run.corpus.curation)) for shard in run.corpus.shards)
    finally:
        shutil.rmtree(work)
