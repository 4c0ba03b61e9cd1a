"""ray.labels reaches what it places; tests/cluster/test_three_nodes.py sees it happen on nodes."""

from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from pipelines.dedup.index import RayPartitions
from snowcoder.config import LabelsConfig, RunConfig
from snowcoder.preflight import stream_resources
from train import room
from train.config import TrainConfig

STREAM, WORKERS, SCORERS = {"role": "curation"}, {"role": "training"}, {"role": "annotator"}


def test_the_stream_gets_its_labels_and_the_scorers_theirs():
    labels = {"curation": STREAM, "annotator": SCORERS}
    made = stream_resources(RunConfig.model_validate({"ray": {"labels": labels}}), [1000])
    assert (made.labels, made.score_labels) == (STREAM, SCORERS)
    none = stream_resources(RunConfig(), [1000])
    assert none.labels == none.score_labels == {}


def test_engines_are_placed_by_their_gpu_alone():
    LabelsConfig(vllm={"ray.io/accelerator-type": "L40S"})
    with pytest.raises(ValidationError, match=r"ray\.labels\.vllm"):
        LabelsConfig(vllm={"role": "vllm"})


def test_an_index_that_travels_keeps_its_labels():
    there = pickle.loads(pickle.dumps(RayPartitions("index", 2, STREAM)))
    assert there._labels == STREAM
    assert len(there) == 2


def test_room_is_counted_on_the_nodes_with_the_labels(ray_session):
    (node,) = [node for node in ray_session.nodes() if node["Alive"]]
    here = {"ray.io/node-id": node["NodeID"]}
    assert room.short_of({"CPU": 1}, here) == []
    (told,) = room.short_of({"CPU": 1}, WORKERS)
    assert told == "1 CPU, the cluster has 0 on nodes with role=training"
    cfg = TrainConfig(num_workers=1, global_batch=8, micro_batch=8, worker_labels=here, stream_labels=STREAM)
    assert room.most(cfg, [1], 1) is None  # the workers fit, their stream does not
    assert room.most(cfg.model_copy(update={"stream_labels": here}), [1], 1) == 1
