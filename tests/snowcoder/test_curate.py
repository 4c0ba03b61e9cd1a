"""`snowcoder curate` as a user types it: verdicts, the funnel, the kept documents written out, and inspection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from snowcoder.funnel import check_accounting, funnel, total
from tests.corpora import write_repositories


def snowcoder(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "snowcoder.cli", *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout


def test_verdicts_funnel_kept_documents_and_inspection(tmp_path):
    source = write_repositories(tmp_path / "source", copies=2, packages=("json", "http", "wsgiref"))
    (source / "json-0" / "broken.py").write_bytes(b"x = '\xff'\n")
    recipe = tmp_path / "recipe.yaml"
    settings = {
        "source": {"kind": "directory", "paths": [str(source)], "shard_bytes": 100_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
    }
    recipe.write_text(yaml.safe_dump(settings))
    run, kept = tmp_path / "run", tmp_path / "kept"
    printed = snowcoder("curate", "--config", recipe, "--out", run, "--write", kept)
    assert "Funnel" in printed
    assert "exact_duplicate" in printed

    found = funnel(run)
    assert check_accounting(run) == []
    files = len(list(source.rglob("*.py")))
    assert total(found.read).documents == files
    written = [pq.read_table(path) for path in sorted(kept.glob("*.parquet"))]
    assert sum(table.num_rows for table in written) == total(found.kept).documents < files
    texts = [text for table in written for text in table["text"].to_pylist()]
    assert len(set(texts)) == len(texts)

    again = snowcoder("curate", "--config", recipe, "--out", run)
    assert "rules: replay" in again
    shown = snowcoder("inspect", run, "--reason", "exact_duplicate", "--limit", "1")
    assert "duplicate_of" in shown
    assert "error:invalid_utf8" in snowcoder("inspect", run)

    # Another corpus, deduplicated against what this run kept: of the same files none is new.
    snowcoder("store-index", "--config", recipe, "--out", run, "--to", tmp_path / "index")
    against = f"curation.dedup.against=[{tmp_path / 'index'}]"
    second = tmp_path / "second"
    snowcoder("curate", "--config", recipe, "--out", second, "--set", against)
    assert total(funnel(second).kept).documents == 0
    assert total(funnel(second).read).documents == files
