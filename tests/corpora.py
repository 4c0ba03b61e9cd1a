"""Small real corpora for tests: files of the standard library, laid out as repositories."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from pipelines.curation import Curation
from pipelines.dedup.config import DedupConfig
from pipelines.manifest import build_manifest
from pipelines.phases.corpus import Corpus
from pipelines.sequences.config import SequencesConfig
from pipelines.sources import SourceConfig
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.chain import StagesConfig
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.stored_index import store
from pipelines.stream import Resources, in_order

PACKAGES = (
    "json",
    "email",
    "http",
    "logging",
    "xml/dom",
    "importlib",
    "concurrent/futures",
    "unittest",
    "wsgiref",
)


def write_repositories(root: Path, copies: int = 1, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Each standard-library package as a repository, `copies` times under other names: exact duplicates."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for copy in range(copies):
        for package in packages:
            target = root / f"{package.replace('/', '-')}-{copy}"
            target.mkdir(parents=True)
            for source in sorted((library / package).glob("*.py")):
                (target / source.name).write_bytes(source.read_bytes())
    return root


def corpus(
    source: Path,
    run: Path,
    *,
    shard_bytes: int = 150_000,
    rules: RulesConfig | None = None,
    seq_len: int = 64,
) -> Corpus:
    """A corpus over the repositories in `source`, with its verdicts under `run`."""
    config = SourceConfig(kind="directory", paths=(str(source),), shard_bytes=shard_bytes)
    curation = Curation(
        source=config,
        stages=StagesConfig(rules=rules or RulesConfig()),
        dedup=DedupConfig(partitions=1, expected_documents=10_000),
        benchmarks=store(BenchmarkIndex.build([]), run / "benchmarks"),
        ledger_root=str(run / "ledger"),
    )
    return Corpus(
        root=run,
        shards=in_order(build_manifest(config, seed=3)),
        curation=curation,
        sequences=SequencesConfig(seq_len=seq_len, interleave=3, deal_batches=2),
        resources=Resources(),
        seed=5,
    )
