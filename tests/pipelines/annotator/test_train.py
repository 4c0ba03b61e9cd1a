"""Train on real code with the real encoder, then score: what a run does, small."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotator.quality import AnnotatorMetrics
from pipelines.annotator.score import Scorer, scorer_fingerprint
from pipelines.annotator.splits import sample_negatives, split
from pipelines.annotator.train import train_annotator
from snowcoder.base import UserError


@pytest.fixture(scope="module")
def trained(annotator_config, code_tables, tmp_path_factory):
    directory = tmp_path_factory.mktemp("annotator")
    good, other = code_tables
    return train_annotator(good, other, annotator_config, directory), directory


def test_the_head_tells_unseen_packages_apart(trained, code_tables):
    report, directory = trained
    good, other = code_tables
    held = report.held_out
    assert held.auc is not None
    assert held.auc.value > 0.75
    assert held.auc.low <= held.auc.value <= held.auc.high
    assert held.positives + report.train_positive == len(good)
    assert held.negatives + report.train_negative == len(other)
    assert held.groups == 2
    assert report.languages == {"Python": (len(good), len(other))}
    assert AnnotatorMetrics.read(directory) == report
    assert f"ROC-AUC {held.auc.value:.3f}" in report.line()


def test_scores_are_of_the_document_not_of_the_batch(trained, annotator_config, code_tables):
    scorer = Scorer(annotator_config, trained[1])
    text = pa.chunked_array(
        [
            code_tables[0]["text"].slice(0, 5).combine_chunks(),
            pa.array([None, "", "x = 1"], pa.large_string()),
        ]
    )
    scores = scorer.score(text)
    assert scores.dtype == np.float32
    assert np.isnan(scores[5])
    assert ((scores >= 0) & (scores <= 1))[[0, 1, 2, 3, 4, 6, 7]].all()
    backwards = scorer.score(text.take(pa.array(range(7, -1, -1))))
    np.testing.assert_allclose(backwards[::-1], scores, atol=1e-5)
    assert scorer.score(text.slice(0, 0)).shape == (0,)


def test_the_score_is_the_mean_over_windows(trained, annotator_config):
    scorer = Scorer(annotator_config, trained[1])
    top, middle, bottom = (
        "import os\n" * 300,
        "def gcd(a, b):\n    return a\n" * 300,
        "class Widget: pass\n" * 300,
    )
    # Pieces of 256 bytes at the ends and the centre of this text lie inside one of the three parts each.
    parts = scorer.score(pa.array([top[:260], middle[:260], bottom[-260:]]))
    whole = scorer.score(pa.array([top + middle + bottom]))
    assert abs(float(whole[0]) - parts.mean()) < 0.15
    assert parts.min() <= whole[0] <= parts.max()


def test_the_fingerprint_follows_what_scores_depend_on(trained, annotator_config, code_tables, tmp_path):
    _, directory = trained
    scorer = Scorer(annotator_config, directory)
    assert scorer.fingerprint == scorer_fingerprint(annotator_config, directory)

    def of(**changes) -> str:
        encoder = annotator_config.encoder.model_copy(update=changes)
        return scorer_fingerprint(annotator_config.model_copy(update={"encoder": encoder}), directory)

    assert of(batch_tokens=99, threads=2) == scorer.fingerprint
    assert len({scorer.fingerprint, of(window_tokens=64), of(pooling="cls"), of(dtype="bfloat16")}) == 4
    other = annotator_config.encoder.model_copy(update={"window_tokens": 64})
    with pytest.raises(UserError, match="trained with window_tokens 32, but the configuration says 64"):
        Scorer(annotator_config.model_copy(update={"encoder": other}), directory)
    (tmp_path / "head.safetensors").write_bytes((directory / "head.safetensors").read_bytes()[:-1] + b"\7")
    assert scorer_fingerprint(annotator_config, tmp_path) != scorer.fingerprint


def _table(rows: list[tuple[str, str]]) -> pa.Table:
    text, lang = zip(*rows, strict=True)
    return pa.table({"text": pa.array(text, pa.large_string()), "lang": lang, "group": text})


def test_negatives_match_the_positives_languages_and_are_no_positives(annotator_config):
    positives = _table([(f"p{i}", "Python") for i in range(6)] + [(f"g{i}", "Go") for i in range(3)])
    negatives = _table(
        [(f" p{i}\n", "Python") for i in range(6)]
        + [(f"n{i}", "Python") for i in range(50)]
        + [("only", "Go")]
        + [(f"c{i}", "C") for i in range(500)]
    )
    sample = sample_negatives(positives, negatives, annotator_config)
    assert Counter(sample["lang"].to_pylist()) == {"Python": 6, "Go": 1}
    assert not any(text.startswith(" p") for text in sample["text"].to_pylist())
    assert sample.equals(sample_negatives(positives, negatives, annotator_config))
    anything = annotator_config.model_copy(
        update={"negatives_match_language": False, "negatives_per_positive": 2}
    )
    counts = Counter(sample_negatives(positives, negatives, anything)["lang"].to_pylist())
    assert sum(counts.values()) == 18
    assert counts["C"] >= 12
    with pytest.raises(UserError, match=r"none of 500 .* \['Go', 'Python'\]"):
        sample_negatives(positives, negatives.slice(57), annotator_config)


def test_the_split_keeps_groups_whole_and_near_its_share():
    rng = np.random.default_rng(3)
    group = rng.integers(0, 2**31, 40)[rng.integers(0, 40, 1000)]
    held_out = split(group, 0.2)
    assert 0.2 <= held_out.mean() <= 0.4
    assert not set(group[held_out]) & set(group[~held_out])
    giant = np.array([1] * 990 + [2] * 10)
    assert set(giant[split(giant, 0.2)]) == {2}
    with pytest.raises(UserError, match="one group"):
        split(np.ones(5, np.int64), 0.2)
