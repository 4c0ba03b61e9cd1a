"""Keys of real texts: pinned, and unharmed by the way through Arrow."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import KEYS_VERSION, DocumentKeys, ShardKeys, document_keys
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
        np.array_equal(getattr(left, field.name), getattr(right, field.name))
        for field in fields(DocumentKeys)
    )


def test_keys_are_pinned_to_their_version():
    """Ledgers hold verdicts that follow from these keys. If it fails, raise KEYS_VERSION and pin anew."""
    keys = document_keys(TEXTS, DedupConfig())
    assert keys.short.tolist() == [False, True, True, False]
    pinned = stable_hash([keys.exact[:, 0].tolist(), keys.bands.tolist(), keys.signature.tolist()])
    assert (KEYS_VERSION, pinned) == (2, "cc349ccb19b1b6b4a17d2201e2d9c67e")


def test_a_null_text_is_refused():
    with pytest.raises(ValueError, match="1 documents have no text"):
        document_keys(pa.array(["a", None], pa.large_string()), DedupConfig())


def test_arrow_round_trip_also_of_a_slice_and_of_nothing():
    keys = document_keys(TEXTS, DedupConfig(bins=64, bands=4, normalise="case"))
    table = keys.to_table()
    assert same(DocumentKeys.from_table(table), keys)
    assert same(DocumentKeys.from_table(table.slice(1, 2)), keys.select(np.array([1, 2])))
    assert same(DocumentKeys.from_table(pa.concat_tables([table.slice(0, 3), table.slice(3)])), keys)
    assert DocumentKeys.from_table(table.slice(0, 0)).exact.shape == (0, 2, 2)


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
        ({"similarity": 0.8, "verify": True, "link": "chain"}, "verify needs link: direct"),
        ({"similarity": 0.8, "bands": 4}, "both bands and rows"),
        ({"similarity": 1.0}, "less than 1"),
        ({"prefer": ("age",)}, "prefer"),
        ({"bin": 128}, "Extra inputs"),
    ],
)
def test_inconsistent_configurations_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        DedupConfig(**fields)


def test_a_similarity_chooses_bands_and_rows_and_given_ones_win():
    chosen = DedupConfig(similarity=0.7, bins=256)
    assert (chosen.bands, chosen.rows) == (25, 10)
    assert DedupConfig(**chosen.model_dump()) == chosen
    given = DedupConfig(similarity=0.85, bands=16, rows=8, verify=True)
    assert (given.bands, given.rows) == (16, 8)


def test_a_chain_is_not_verified_and_its_similarity_changes_no_verdict():
    chain = DedupConfig(link="chain", similarity=0.8, bands=16, rows=8)
    assert not chain.verify
    assert chain.verdict_fields() == DedupConfig(link="chain").verdict_fields()


def test_what_changes_no_verdict_is_no_part_of_what_they_depend_on():
    plain = DedupConfig()
    same = DedupConfig(partitions=7, expected_documents=9, grow=False)
    assert plain.verdict_fields() == same.verdict_fields()
    for other in ({"scope": "language"}, {"prefer": ("path",)}, {"verify": False}, {"similarity": 0.8}):
        assert DedupConfig(**other).verdict_fields() != plain.verdict_fields()


CODE = "def f(a):\n    return [a, b, c, d, e, F]\n"
texts = st.lists(
    st.sampled_from(
        [CODE, CODE.replace("    ", "\t"), CODE.upper(), "\ufeff" + CODE, "x = 1", "x  =  1", "", " "]
    ),
    max_size=12,
)


def documents(texts, repos=None, langs=None) -> pa.Table:
    count = len(texts)
    return pa.table(
        {
            "row": pa.array(range(count), pa.int32()),
            "repo": pa.array(repos or ["r"] * count, pa.string()),
            "path": pa.array([f"f{i}" for i in range(count)], pa.string()),
            "lang": pa.array(langs or ["Python"] * count, pa.string()),
            "text": pa.array(texts, pa.large_string()),
        }
    )


def shard_keys(tables, cfg) -> DocumentKeys:
    maker = ShardKeys(cfg)
    for table in tables:
        maker.add(table)
    rows, keys = maker.finish()
    assert rows.tolist() == [row for table in tables for row in table["row"].to_pylist()]
    return keys


@settings(deadline=None, max_examples=60)
@given(texts, st.sampled_from(["none", "whitespace", "case"]), st.data())
def test_copies_within_a_shard_are_not_shingled_again_and_get_the_same_keys(texts, form, data):
    cfg = DedupConfig(normalise=form)
    whole, cut = documents(texts), data.draw(st.integers(0, len(texts)))
    keys = shard_keys([whole.slice(0, cut), whole.slice(cut)], cfg)
    alone = [shard_keys([documents([text])], cfg) for text in texts]
    for i, one in enumerate(alone):
        for name in ("exact", "bands", "signature", "short"):
            assert np.array_equal(getattr(keys, name)[i], getattr(one, name)[0])


def test_the_normal_form_sees_through_formatting_and_no_further():
    texts = [CODE, CODE.replace("    ", "\r\n\t"), CODE.upper(), CODE.replace("a", "z")]
    equal = {}
    for form in ("none", "whitespace", "case"):
        exact = document_keys(pa.array(texts, pa.large_string()), DedupConfig(normalise=form)).exact[:, -1]
        equal[form] = (exact[1:] == exact[0]).all(axis=1).tolist()
    assert equal == {
        "none": [False, False, False],
        "whitespace": [True, False, False],
        "case": [True, True, False],
    }


@pytest.mark.parametrize(("scope", "together"), [("corpus", True), ("language", False), ("repository", True)])
def test_scope_keeps_keys_of_other_languages_apart(scope, together):
    keys = shard_keys([documents([CODE, CODE], langs=["C", "C++"])], DedupConfig(scope=scope))
    assert (keys.exact[0] == keys.exact[1]).all() == together
    assert (keys.bands[0] == keys.bands[1]).all() == together
    assert (keys.signature[0] == keys.signature[1]).all()


def test_a_training_document_has_the_shingles_of_its_files_and_any_order_of_them():
    cfg = DedupConfig(level="training_document")
    files = [CODE, " ".join(f"t{i}" for i in range(50)), " ".join(f"u{i}" for i in range(50))]
    table = documents(
        [*files, *files[::-1], files[0], files[0], files[1]],
        repos=[*["one"] * 3, *["two"] * 3, "one", "", ""],
        langs=[*["Python"] * 6, "C", "C", "C"],
    )
    keys = shard_keys([table.slice(0, 2), table.slice(2)], cfg)
    assert keys.unit.tolist() == [0, 0, 0, 3, 3, 3, 6, 7, 8]
    joined = document_keys(pa.array(["\n".join(files)], pa.large_string()), DedupConfig())
    shared = (keys.signature[0] == joined.signature[0]).mean()
    assert 0.8 < shared < 1  # the shingles across the seams are missing, and no others
    for name in ("exact", "bands", "signature"):
        assert np.array_equal(getattr(keys, name)[0], getattr(keys, name)[3])
    assert (keys.exact[0] != keys.exact[6]).all()
    assert (keys.exact[6] == keys.exact[7]).all()  # one file of one language is what it is in any repository


def test_ranks_follow_the_preference():
    table = documents([CODE, CODE, CODE]).set_column(2, "path", pa.array(["a/b/c", "b/a", "a/c"]))
    assert shard_keys([table.slice(0, 2), table.slice(2)], DedupConfig(prefer=("path",))).rank.tolist() == [
        2,
        1,
        0,
    ]
