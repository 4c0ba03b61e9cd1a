from __future__ import annotations

import datetime
import pickle

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from pipelines.sources.repository_facts import RepositoryFactsConfig, write_facts
from snowcoder.base import UserError

COLUMNS = {"repo": "name", "stars": "star_events_count", "date": "revision_date"}


def day(number: int) -> datetime.datetime:
    return datetime.datetime(2024, 1, number)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_largest_value_of_each_repository(kind, tmp_path):
    names = ["b/b", "a/a", "b/b", None, "c/é"]
    table = pa.table(
        {
            "name": names,
            "star_events_count": [3, 0, 7, 100, None],
            "revision_date": pa.array([day(1), day(2), day(3), day(4), None], pa.timestamp("us")),
            "other": ["x"] * 5,
        }
    )
    path = tmp_path / f"facts.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "csv":
        pc.write_csv(table, path)
    else:
        path.write_text(table.to_pandas().to_json(orient="records", lines=True, date_format="iso"))
    facts = write_facts(
        RepositoryFactsConfig(paths=(str(tmp_path),), columns=COLUMNS), tmp_path / "out" / "facts.arrow"
    )
    found = facts.of(pa.chunked_array([["a/a", "unknown"], ["b/b", "c/é", None, "b/b"]]))
    assert found["stars"].to_pylist() == [0, None, 7, None, None, 7]
    assert found["date"].to_pylist() == [day(2), None, day(3), None, None, day(3)]
    again = pickle.loads(pickle.dumps(facts))
    assert again.of(pa.array(["b/b"]))["stars"].to_pylist() == [7]
    assert again.fingerprint == facts.fingerprint


def test_iso_dates_and_seconds(tmp_path):
    for number, dates in enumerate((["2024-01-03T00:00:00"], [int(day(3).timestamp())], [day(3).date()])):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"repo": ["a"], "date": dates}), path)
        config = RepositoryFactsConfig(paths=(str(path),), columns={"repo": "repo", "date": "date"})
        facts = write_facts(config, tmp_path / f"{number}.arrow")
        assert facts.names == ["date"]
        assert facts.of(pa.array(["a"]))["date"].to_pylist()[0].date() == day(3).date()


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    path = tmp_path / "facts.parquet"
    config = RepositoryFactsConfig(paths=(str(path),))
    pq.write_table(pa.table({"repo": ["a"], "star": [1]}), path)
    with pytest.raises(UserError, match=r"facts\.parquet: no column 'stars'.*source\.facts\.columns\.stars"):
        write_facts(config, tmp_path / "out.arrow")
    pq.write_table(pa.table({"repo": ["a"], "stars": ["many"]}), path)
    with pytest.raises(UserError, match=r"column 'stars' is string, 'stars' needs int64"):
        write_facts(config, tmp_path / "out.arrow")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"facts\.parquet"):
        write_facts(config, tmp_path / "out.arrow")
    with pytest.raises(UserError, match="nowhere"):
        write_facts(RepositoryFactsConfig(paths=(str(tmp_path / "nowhere"),)), tmp_path / "out.arrow")


def test_no_repository_is_known(tmp_path):
    path = tmp_path / "facts.parquet"
    pq.write_table(pa.table({"repo": pa.array([], pa.string()), "stars": pa.array([], pa.int64())}), path)
    facts = write_facts(RepositoryFactsConfig(paths=(str(path),)), tmp_path / "out.arrow")
    assert facts.of(pa.array(["a", "b"]))["stars"].to_pylist() == [None, None]
