"""Which copy is the best one."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from pipelines.dedup.preference import licence_class, preference_order
from snowcoder.base import UserError


def test_each_preference_and_its_ties():
    rows = pa.table(
        {
            "stars": pa.array([3, None, 10, 3]),
            "date": [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1), None, datetime.date(2019, 1, 1)],
            "license": pa.array(["GPL-3.0-only", "MIT", None, "MPL-2.0"]),
            "path": ["b.py", "lib/x/a.py", "a.py", "src/a.py"],
        }
    )
    assert preference_order(rows, ["stars"]).tolist() == [2, 0, 3, 1]
    assert preference_order(rows, ["date"]).tolist() == [1, 0, 3, 2]
    assert preference_order(rows, ["license"]).tolist() == [1, 3, 0, 2]
    assert preference_order(rows, ["path"]).tolist() == [2, 0, 3, 1]
    assert preference_order(rows, ["stars", "license"]).tolist() == [2, 3, 0, 1]
    assert preference_order(rows, []).tolist() == [0, 1, 2, 3]


def test_licence_classes():
    names = [
        "MIT",
        "Apache-2.0 AND GPL-2.0-only",
        "GPL-2.0-only OR BSD-3-Clause",
        "LGPL-2.1-only",
        "",
        None,
        "Foo",
    ]
    assert licence_class(pa.array(names)).tolist() == [0, 2, 0, 1, 3, 3, 2]


def test_a_missing_column_is_named():
    with pytest.raises(UserError, match=r"`stars`; name a table in source\.facts"):
        preference_order(pa.table({"path": ["a"]}), ["stars"])
