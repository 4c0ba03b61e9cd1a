"""Counts per rule and preset on pinned corpora: any change of a rule shows here, also one that was not meant."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tests.golden.rules import POSITIVES, SMALL, Counts, counts, positives, small_corpus


def golden(path: object) -> Counts:
    return json.loads(path.read_text())["presets"]  # type: ignore[attr-defined]


def check(docs: pa.Table | None, wanted: Counts, absent: str) -> None:
    if docs is None:
        pytest.skip(absent)
    found = counts(docs)
    for name, preset in wanted.items():
        assert found[name] == preset, f"{name}; if it is meant: python -m tests.golden.rules"
    assert found.keys() == wanted.keys()


def test_positives() -> None:
    check(
        positives(),
        golden(POSITIVES),
        "the wheels of requirements/positives.lock are not in the cache: make test",
    )


@pytest.mark.soak
def test_small_corpus() -> None:
    check(
        small_corpus(), golden(SMALL), "no corpus: python -m benchmarks.corpus small --out $SNOWCODER_CORPUS"
    )


def test_our_preset_keeps_good_code() -> None:
    """What conf/presets/snowcoder.yaml claims of itself."""
    shares = {name: preset["kept"] / preset["documents"] for name, preset in golden(POSITIVES).items()}  # type: ignore[operator]
    assert shares["snowcoder"] > 0.85
    assert shares["opencoder"] < 0.7
    assert shares["starcoder2"] > shares["snowcoder"]
