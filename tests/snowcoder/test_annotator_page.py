"""The annotators' page, from diagnostics of real files."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.diagnostics import SAMPLE, Diagnostics, diagnose, percentile_within, spearman_within
from pipelines.annotator.exact import SCORED, select_exact
from pipelines.annotator.quality import AnnotatorMetrics
from pipelines.dedup.config import DedupConfig
from snowcoder.annotator_page import DIAGNOSTICS, write_annotator_page
from snowcoder.base import UserError

HOSTILE = "</pre><script>alert(1)</script>{{ 7 * 7 }}\x1b[31m"
ESTIMATE = {"value": 0.8, "low": 0.7, "high": 0.9}


def sample(count: int) -> pa.Table:
    """Files of the standard library; their folder is the repository. One text is hostile."""
    library = Path(sysconfig.get_paths()["stdlib"])
    rows = []
    for place, path in enumerate(sorted(library.glob("*/*.py"))[:count]):
        text = (
            HOSTILE + path.read_text("utf-8", "replace") if place == 3 else path.read_text("utf-8", "replace")
        )
        rows.append({
            "lang": "Python" if place % 4 else "Go", "repo": path.parent.name, "path": path.name,
            "license": "PSF-2.0" if place % 3 else "", "repo_bytes": 1000 * (place + 1), "text": text,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SAMPLE)


@pytest.fixture(scope="module")
def found() -> tuple[pa.Table, dict[str, np.ndarray], Diagnostics]:
    documents = sample(80)
    length = pa.compute.binary_length(documents["text"]).to_numpy()
    rng = np.random.default_rng(0)
    scores = {
        "long": (np.argsort(np.argsort(length)) / len(length)).astype(np.float32),
        "noise": rng.random(len(length), dtype=np.float32),
    }
    selected = {name: score >= 0.7 for name, score in scores.items()}
    return documents, scores, diagnose(documents, scores, selected, DedupConfig(), shards=2, seed=0)


def test_what_goes_with_length_is_said(found):
    _, _, result = found
    long, noise = result.annotators
    assert long.length_correlation == pytest.approx(1.0)
    assert abs(noise.length_correlation) < 0.4
    ranks = [group.rank for group in long.bias["length"]]
    assert ranks == sorted(ranks)
    assert long.bias["length"][-1].selected > long.bias["length"][0].selected
    for groups in long.bias.values():
        assert sum(group.documents for group in groups) <= 80
    assert sum(group.documents for group in long.bias["comment share"]) == 80
    assert {group.name for group in long.bias["licence"]} == {"PSF-2.0", "unknown"}


def test_agreement_and_ranks():
    rng = np.random.default_rng(1)
    group = np.array(["a"] * 50 + ["b"] * 50, object)
    score = rng.random(100)
    # Levels that differ between languages are no disagreement; the order within is what counts.
    shifted = np.where(group == "a", score**3 + 5, score**3)
    assert spearman_within(score, shifted, group) == pytest.approx(1)
    assert spearman_within(score, -shifted, group) == pytest.approx(-1)
    assert np.isnan(spearman_within(np.ones(4), np.arange(4), np.array(["a"] * 4, object)))
    assert percentile_within(np.array([1, 1, 3, 2.0]), np.array(["a", "a", "a", "b"], object)).tolist() == (
        pytest.approx([1 / 3, 1 / 3, 5 / 6, 0.5])
    )


def test_extremes_are_those(found):
    documents, scores, result = found
    shown = result.annotators[0].extremes["Python"]
    own = scores["long"][np.asarray(documents["lang"].to_pylist()) == "Python"]
    assert [one.place for one in shown] == ["highest"] * 2 + ["median"] * 2 + ["lowest"] * 2
    assert shown[0].score == pytest.approx(own.max())
    assert shown[-1].score == pytest.approx(own.min())


def test_copies_and_one_repository_show_as_redundancy(found):
    documents, _, _ = found
    first = documents.slice(10, 1)
    copies = pa.concat_tables([first] * 20 + [documents])
    chosen = np.arange(len(copies)) < 20
    result = diagnose(
        copies, {"one": chosen.astype(np.float32)}, {"one": chosen}, DedupConfig(), shards=1, seed=0
    ).annotators[0]
    assert result.selection is not None
    assert result.random is not None
    assert result.selection.near_duplicates == 1.0
    assert result.selection.largest_repository == 1.0
    assert result.selection.repositories == pytest.approx(1.0)
    assert result.random.near_duplicates < 1.0
    assert result.selection.words == result.random.words
    assert result.selection.distinct < result.random.distinct


def metrics(name: str, *, noise: bool) -> AnnotatorMetrics:
    scorers = [{"scorer": s, "auc": ESTIMATE, "lead": None} for s in (name, "length", "bag_of_tokens")]
    comparison = {
        "benchmark": "humaneval-x", "language": "Python", "positives": 100, "negatives": 100, "repositories": 9,
        "unmatched": 0, "median_bytes": (400, 410), "scorers": scorers, "winner": name,
    }  # fmt: skip
    held_out = {
        "auc": ESTIMATE, "length_auc": 0.6, "like_size_auc": None, "bag_auc": 0.7, "documents": 50,
        "positives": 25, "negatives": 25, "groups": 8,
    }  # fmt: skip
    return AnnotatorMetrics.model_validate({
        "annotator": name, "recipe": "ANN-HQINS <paper 3.4>", "task": "binary", "outputs": ("quality",), "encoder": "e",
        "finetuned": False, "window_tokens": 256, "key": "k", "noise": noise, "seed": 0, "workers": 1, "steps": 9,
        "best_step": 9, "train_positive": 300, "train_negative": 300, "languages": {"Python": (300, 300)},
        "temperature": 1.0, "per_language": (), "windows": 700, "embed_seconds": 1.0, "train_seconds": 1.0,
        "documents_per_second": 600.0, "held_out": held_out, "quality": [comparison],
    })  # fmt: skip


def test_the_page_at_every_stage(found, tmp_path: Path):
    documents, scores, result = found
    with pytest.raises(UserError, match="no trained annotator"):
        write_annotator_page(tmp_path)
    for name in scores:
        folder = tmp_path / "annotators" / name
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(metrics(name, noise=name == "noise").model_dump_json())
        (folder / "key.json").write_text('"k"')
    page = write_annotator_page(tmp_path, collect=False).read_text()
    assert "Nothing was scored" in page
    assert "humaneval-x" in page
    assert "ANN-HQINS &lt;paper 3.4&gt;" in page
    assert "its figures are noise" in page

    (tmp_path / "annotators" / DIAGNOSTICS).write_text(result.model_dump_json())
    table = pa.table({
        "lang": documents["lang"], "repo": documents["repo"], "ordinal": np.arange(80), "score": scores["long"],
        "tokens": pa.compute.binary_length(documents["text"]),
    })  # fmt: skip
    cfg = SelectionConfig(fraction=0.3)
    selection = select_exact(lambda: iter([table.cast(SCORED)]), cfg, "long")
    selection.write(tmp_path / "annotators" / "long" / "selection.json")
    page = write_annotator_page(tmp_path, collect=False).read_text()
    assert page == write_annotator_page(tmp_path, collect=False).read_text()
    assert "Nothing was scored" not in page
    assert "<script" not in page
    for title in (
        "By length",
        "By licence",
        "By repository size",
        "By comment share",
        "Effective repositories",
    ):
        assert title in page
    assert page.count("<svg") >= 1 + 1 + 2 + 10
    (tmp_path / "annotators" / DIAGNOSTICS).write_text("{}")
    assert "not of this version" in write_annotator_page(tmp_path, collect=False).read_text()
