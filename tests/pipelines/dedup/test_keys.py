"""Keys of real texts: pinned, and unharmed by the way through Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import KEYS_VERSION, DocumentKeys, document_keys
from pipelines.schema import stable_hash

TEXTS = pa.array(
    [
        "def add(a, b):\n    return a + b\n",
        "x = 1",
        "",
        "class Größe:\n    def __init__(self): self.größe = None\n",
    ],
    pa.large_string(),
)


def same(left: DocumentKeys, right: DocumentKeys) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("exact", "bands", "signature", "short")
    )


def test_keys_are_pinned_to_their_version():
    """Ledgers hold verdicts that follow from these keys. If it fails, raise KEYS_VERSION and pin anew."""
    keys = document_keys(TEXTS, DedupConfig())
    assert keys.short.tolist() == [False, True, True, False]
    pinned = stable_hash([keys.exact.tolist(), keys.bands.tolist(), keys.signature.tolist()])
    assert (KEYS_VERSION, pinned) == (1, "60590dc3db8fd9cd62ca872c092eceb0")


def test_a_null_text_is_refused():
    with pytest.raises(ValueError, match="1 documents have no text"):
        document_keys(pa.array(["a", None], pa.large_string()), DedupConfig())


def test_arrow_round_trip_also_of_a_slice_and_of_nothing():
    keys = document_keys(TEXTS, DedupConfig(bins=64, bands=4))
    table = keys.to_table()
    assert same(DocumentKeys.from_table(table), keys)
    assert same(DocumentKeys.from_table(table.slice(1, 2)), keys.select(np.array([1, 2])))
    assert same(DocumentKeys.from_table(pa.concat_tables([table.slice(0, 3), table.slice(3)])), keys)
    assert len(DocumentKeys.from_table(table.slice(0, 0))) == 0


def test_concat_joins_the_tables_of_a_shard():
    cfg = DedupConfig()
    parts = [document_keys(TEXTS[:1], cfg), document_keys(TEXTS[1:1], cfg), document_keys(TEXTS[1:], cfg)]
    assert same(DocumentKeys.concat(parts), document_keys(TEXTS, cfg))


def test_the_curve_in_the_docstring():
    cfg = DedupConfig()
    assert [round(cfg.probability(j), 2) for j in (0.5, 0.7, 0.8, 0.85)] == [0.06, 0.61, 0.95, 0.99]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bands": 17}, "more than bins"),
        ({"threshold": 0.8, "link": "chain"}, "threshold needs link: direct"),
        ({"bin": 128}, "Extra inputs"),
    ],
)
def test_inconsistent_configurations_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        DedupConfig(**fields)
