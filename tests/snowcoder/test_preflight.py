"""A phase that cannot be carried out is refused before it starts, in one line, with numbers and a setting."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from pipelines.stream import Resources
from snowcoder.base import UserError
from snowcoder.config import RunConfig
from snowcoder.preflight import (
    check_cluster,
    check_disk,
    check_models,
    demands,
    disk_needs,
    preflight,
    stream_resources,
)
from snowcoder.run import Run
from tests.corpora import write_repositories

GIB = 1 << 30
SMALL = {
    "curation": {"benchmarks": [], "dedup": {"partitions": 1, "expected_documents": 1000}},
    "tokenizer": {"vocab_size": 1000, "sample_bytes": 300_000},
    "sequences": {"seq_len": 64, "interleave": 4, "deal_batches": 2},
    "train": {
        "model": {"layers": 1, "hidden": 64, "ffn": 128, "heads": 1, "vocab": 1000, "context": 64},
        "num_workers": 2,
        "global_batch": 8,
        "micro_batch": 4,
        "wait_for_nodes_seconds": 0.0,
    },
}


def config(**parts: dict) -> RunConfig:
    """SMALL with settings of some parts changed."""
    raw = SMALL | {name: SMALL.get(name, {}) | given for name, given in parts.items()}
    return RunConfig.model_validate(raw)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> dict:
    root = write_repositories(tmp_path_factory.mktemp("source"))
    return {"kind": "directory", "paths": [str(root)], "shard_bytes": 150_000}


def test_a_phase_that_fits_passes_every_check(source, tmp_path, ray_session):
    run = Run(config(source=source), tmp_path / "run")
    preflight(run, "curate")
    preflight(run, "general")
    assert not list(run.root.glob(".writable*"))


@pytest.mark.parametrize(
    ("phase", "parts", "message"),
    [
        (
            "general",
            {"train": {"num_workers": 4, "micro_batch": 2}},
            r"general: needs 5 CPU, the cluster has 4 \(training 4, the stream 1\); lower train.num_workers or",
        ),
        (
            "continued",
            {"ray": {"score_actors": 2}},
            r"needs 5 CPU, the cluster has 4 \(training 2, the stream 1, scoring 2\); lower .*ray.score_actors",
        ),
        ("score", {"ray": {"score_gpus": 1}}, r"score: needs 1 GPU, the cluster has 0 \(scoring 1\)"),
        ("general", {"train": {"use_gpu": True}}, r"needs 2 GPU, the cluster has 0 \(training 2\)"),
        (
            "enhanced",
            {
                "synthesis": {"engine": {"device": "gpu", "tensor_parallel": 4, "replicas": 2}},
                "enhanced": {"start_after": 0.5},
            },
            r"needs 8 GPU, the cluster has 0 \(generation 8\); lower synthesis.engine.replicas",
        ),
        (
            "curate",
            {"curation": {"benchmarks": [], "dedup": {"partitions": 8, "expected_documents": 4_000_000_000}}},
            r"needs \d+\.\d GiB memory, the cluster has .*near-duplicate index .*; lower .*expected_documents",
        ),
    ],
)
def test_a_cluster_that_is_too_small_is_refused_with_numbers(phase, parts, message, ray_session):
    with pytest.raises(UserError, match=message) as refused:
        check_cluster(config(**parts), phase, [1000])
    assert "\n" not in str(refused.value)


def test_elastic_training_needs_only_its_fewest_workers(ray_session):
    check_cluster(config(train={"num_workers": [1, 8], "micro_batch": 1}), "general", [1000])


def test_generation_before_training_shares_its_cpus(ray_session):
    engine = {"device": "cpu", "cpus": 2, "replicas": 1}
    check_cluster(config(synthesis={"engine": engine}, enhanced={"start_after": 1.0}), "enhanced", [1000])
    with pytest.raises(
        UserError, match=r"needs 5 CPU, the cluster has 4 \(training 2, the stream 1, generation 2\)"
    ):
        check_cluster(config(synthesis={"engine": engine}, enhanced={"start_after": 0.5}), "enhanced", [1000])


def test_an_object_store_for_two_shards(ray_session):
    with pytest.raises(UserError, match=r"need 2\.\d\d GiB of object store, the cluster has 0\.50; lower"):
        check_cluster(config(), "general", [GIB])


def test_the_dealer_declares_the_shards_it_holds_open():
    made = stream_resources(config(), [100 << 20] * 3 + [1 << 30] * 5)
    # The four largest, 4 bytes for each 3.5 of text.
    assert made.deal_memory == Resources.deal_memory + int(4 * (1 << 30) * 4 / 3.5)


def test_demands_add_up_by_phase():
    parts = {
        phase: [d.part for d in demands(config(), phase, Resources())]
        for phase in ("curate", "general", "score")
    }
    assert parts == {
        "curate": ["the stream"],
        "general": ["training", "the stream"],
        "score": ["the stream", "scoring"],
    }


def test_disk_is_what_the_plan_computes(tmp_path, source):
    free = shutil.disk_usage(tmp_path).free
    # Kept checkpoints of 14 bytes a parameter are more than the disk has.
    run = Run(config(source=source, train={"keep_checkpoints": free // (14 * 70_000)}), tmp_path / "run")
    with pytest.raises(
        UserError, match=r"general writes up to [\d.]+ GiB, of which 0.0 are there, and [\d.]+ "
    ):
        check_disk(run, "general", 1 << 20)
    check_disk(run, "curate", 1 << 20)  # judging writes no checkpoints
    needs = disk_needs(config(), "curate", 7_000_000)
    assert needs == {"run": pytest.approx(60.0 * 1000), "checkpoints": 0.0}  # 1,000 files of 7 kB


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer.path: \S+ has no tokenizer.json"):
        check_models(config(tokenizer={"path": str(tmp_path)}), "general")
    with pytest.raises(UserError, match=r"synthesis.generator: \S+ has no config.json"):
        check_models(config(synthesis={"generator": str(tmp_path)}), "enhanced")
    with pytest.raises(UserError, match="encoder"):
        check_models(config(annotator={"encoder": {"path": "package:no_such_package/x"}}), "continued")
    check_models(config(synthesis={"generator": str(tmp_path)}), "general")  # that phase needs none


def test_storage_that_takes_nothing(tmp_path, source):
    (tmp_path / "file").write_text("")
    run = Run(config(source=source, train={"checkpoint_storage": str(tmp_path / "file")}), tmp_path / "run")
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        preflight(run, "general")


def test_the_command_refuses_in_one_line(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{source: {kind: directory, paths: [/no/such/place]}, curation: {benchmarks: []}}")
    command = [
        sys.executable,
        "-m",
        "snowcoder.cli",
        "run",
        "general",
        "--config",
        recipe,
        "--out",
        tmp_path / "run",
    ]
    found = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "/no/such/place" in found.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run" / "ledger").exists()
