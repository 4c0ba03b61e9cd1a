"""Bad input ends in one clear line and exit code 2, or in a verdict; never in a traceback or a lost document."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.curation import Curation, judge
from pipelines.dedup.config import DedupConfig
from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.chain import StagesConfig
from pipelines.stages.stored_index import store


def snowcoder(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and what was written to stderr."""
    found = subprocess.run(
        [sys.executable, "-m", "snowcoder.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.returncode, found.stderr.strip()


def recipe(directory: Path, **settings: object) -> Path:
    path = directory / "recipe.yaml"
    curation = {"benchmarks": [], "dedup": {"partitions": 1, "expected_documents": 1000}}
    path.write_text(yaml.safe_dump({"curation": curation, **settings}))
    return path


def curate(directory: Path, **source: object) -> tuple[int, str]:
    return snowcoder("curate", "--config", recipe(directory, source=source), "--out", directory / "run")


def only_line(code: int, text: str, *parts: str) -> None:
    assert code == 2, text
    assert "Traceback" not in text
    line = text.splitlines()[-1]
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def test_truncated_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x = 1"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    only_line(*curate(tmp_path, kind="parquet", paths=[str(path)]), str(path))


def test_wrong_column_name(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["x = 1"]}), path)
    only_line(
        *curate(tmp_path, kind="parquet", paths=[str(path)], columns={"text": "content"}), "content", "body"
    )


def test_unknown_configuration_key(tmp_path):
    path = recipe(tmp_path, sequences={"seqlen": 5})
    only_line(*snowcoder("plan", "--config", path), str(path), "sequences.seqlen", "unknown key")


def test_override_of_an_unknown_key(tmp_path):
    only_line(*snowcoder("plan", "--config", recipe(tmp_path), "--set", "general.tokns=5"), "general.tokns")


def test_missing_recipe(tmp_path):
    only_line(*snowcoder("plan", "--config", tmp_path / "nothing.yaml"), "nothing.yaml", "conf/")


def test_missing_model_directory(tmp_path):
    model = tmp_path / "model"
    config = recipe(tmp_path, evaluation={"max_tasks": 1})
    only_line(
        *snowcoder("evaluate", "--config", config, "--model", model, "--out", tmp_path / "run"), str(model)
    )


def test_damage_that_only_reading_finds(tmp_path):
    """The error of a task on another machine reaches the user as one line too."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "x = 1"}\n' * 20_000, 1)[:-100])
    only_line(*curate(tmp_path, kind="jsonl", paths=[str(path)]), str(path))


@pytest.fixture
def reasons(tmp_path):
    """reasons(source settings) -> the rules stage's verdict of each row, judged without Ray."""

    def of(**source: object) -> list[str | None]:
        config = SourceConfig(**source)
        curation = Curation(
            source=config,
            stages=StagesConfig(),
            dedup=DedupConfig(partitions=1, expected_documents=1000),
            benchmarks=store(BenchmarkIndex.build([]), tmp_path / "benchmarks"),
            ledger_root=str(tmp_path / "ledger"),
        )
        (shard,) = build_manifest(config, seed=0).shards
        judge(shard, curation)
        return curation.ledger.read(curation.stage("rules"), shard.shard)["reason"].to_pylist()

    return of


def test_invalid_utf8_and_empty_files_are_verdicts(tmp_path, reasons):
    repository = tmp_path / "source" / "repo"
    repository.mkdir(parents=True)
    (repository / "a.py").write_bytes(b"print('\xff\xfe')\n")
    (repository / "b.py").write_bytes(b"")
    (repository / "c.py").write_text("def f(a, b):\n    return a + b\n" * 5)
    found = reasons(kind="directory", paths=(str(tmp_path / "source"),))
    assert found == ["error:invalid_utf8", "empty", None]


def test_a_line_of_300_mb_is_a_verdict(tmp_path, reasons):
    path = tmp_path / "a.jsonl"
    good = '{"text": "def f(a, b):\\n    return a + b\\n", "path": "a.py"}\n'
    with path.open("w") as file:
        file.write(good + '{"path": "b.py", "text": "')
        for _ in range(300):
            file.write("x" * 1_000_000)
        file.write('"}\n' + good.replace("a.py", "c.py"))
    columns = {"text": "text", "path": "path"}
    found = reasons(kind="jsonl", paths=(str(path),), columns=columns, shard_bytes=1 << 30)
    assert found == [None, "error:too_large", None]
