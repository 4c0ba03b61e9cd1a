"""A run whose shards are claimed best first: what its manifest and its refusals say, before anything is started."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snowcoder.base import UserError
from snowcoder.config import RunConfig
from snowcoder.run import Run


@pytest.fixture
def recipe(tmp_path) -> dict:
    names = ["a", "b", "c", "d"]
    for name in names:
        (tmp_path / "source" / name).mkdir(parents=True)
        (tmp_path / "source" / name / "code.py").write_text(f"name = '{name}'\n")
    table = pa.table({"repo_name": names, "star_events_count": [5, 70, None, 6]})
    pq.write_table(table, tmp_path / "stars.parquet")
    return {
        "source": {
            "kind": "directory",
            "paths": [str(tmp_path / "source")],
            "shard_bytes": 1,
            "facts": {
                "paths": [str(tmp_path / "stars.parquet")],
                "columns": {"repo": "repo_name", "stars": "star_events_count"},
            },
        },
        "curation": {"benchmarks": [], "dedup": {"prefer": ["stars"], "order": "preferred"}},
    }


def test_shards_with_more_stars_come_first(recipe, tmp_path):
    run = Run(RunConfig.model_validate(recipe), tmp_path / "run")
    assert [shard.repos for shard in run.manifest.shards] == [("b",), ("d",), ("a",), ("c",)]
    assert [shard.shard for shard in run.corpus.shards] == [0, 1, 2, 3]
    assert sorted(run.corpus.order(1).epoch_order(0).tolist()) == [0, 1, 2, 3]


def test_without_facts_it_is_refused(recipe, tmp_path):
    del recipe["source"]["facts"]
    with pytest.raises(UserError, match=r"name a table in source\.facts"):
        _ = Run(RunConfig.model_validate(recipe), tmp_path / "run").manifest
