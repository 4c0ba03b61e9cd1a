"""Preflight: what a phase needs, looked up before it starts anything, and refused in one line with numbers.

Places and models first, then the cluster; for nodes that are still coming it waits `train.wait_for_nodes_seconds`.
What is checked: the run directory and the checkpoint storage can be written and have the disk that `plan` computes;
the phase's models and its source are there; CPUs, GPUs and memory suffice for the workers *and* the data stream
beside them, since training that takes everything waits for its own data for ever.
"""

from __future__ import annotations

import math
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.dedup.memory import check_memory, cluster_memory
from pipelines.stream import Resources
from snowcoder.base import UserError
from snowcoder.config import RunConfig
from snowcoder.plan import PlanInput, activation_bytes_per_gpu, make_plan
from snowcoder.plan import parameters as model_parameters
from snowcoder.planning import plan_input
from train import room
from train.checkpoints import checkpoint_storage

if TYPE_CHECKING:
    from snowcoder.run import Run

GIB = 1 << 30
TOKEN_BYTES = 4  # int32
TRAINS = ("general", "continued", "enhanced")


@dataclass(frozen=True)
class Demand:
    """What one part of a phase asks of Ray, and the setting by which it asks for less."""

    part: str
    setting: str
    amounts: dict[str, float] = field(default_factory=dict)  # Ray resource -> amount; memory in bytes


def preflight(run: Run, phase: str) -> None:
    """Raises UserError unless the phase ("curate", "general", "score", "continued", "enhanced") can be carried out.

    Starts Ray, nothing else.
    """
    config = run.config
    check_places(run, phase)
    check_models(config, phase)
    shards = [shard.bytes for shard in run.manifest.shards]  # raises when the source cannot be reached
    if not shards:
        raise UserError("source: there is no document in it; look at source.paths and source.languages")
    check_disk(run, phase, sum(shards))
    run.start_ray()
    check_cluster(config, phase, shards)


def check_places(run: Run, phase: str) -> None:
    """The run directory and the checkpoint storage take a file and give it back."""
    probe = run.root / f".writable-{uuid.uuid4().hex[:8]}"
    try:
        probe.write_bytes(b"yes")
        probe.unlink()
    except OSError as error:
        raise UserError(f"{run.root}: cannot be written ({error.strerror}); choose another --out") from error
    if phase in TRAINS:
        checkpoint_storage(run.config.train, phase, run.root / "train" / phase).check_writable()


def check_models(config: RunConfig, phase: str) -> None:
    """The tokenizer that is given, the annotator's encoder, the generator."""
    given = config.tokenizer.path
    if given and not (Path(given) / "tokenizer.json").is_file():
        raise UserError(
            f"tokenizer.path: {given} has no tokenizer.json; give a directory with one, or none to train it"
        )
    if phase in ("score", "continued"):
        from pipelines.annotator.encoder import resolve_encoder

        resolve_encoder(config.annotator.encoder.path)
    if phase == "enhanced":
        _check_generator(config)


def _check_generator(config: RunConfig) -> None:
    """Only that it is there: it is fetched and converted where it is opened."""
    from pipelines.synthesis.models import PACKAGE_PREFIX, packaged_gguf

    name = config.synthesis.generator
    if not _own_engine(config):
        return
    if name.startswith(PACKAGE_PREFIX):
        packaged_gguf(name.removeprefix(PACKAGE_PREFIX))
    elif name.startswith((".", "/", "~")) and not (Path(name).expanduser() / "config.json").is_file():
        raise UserError(
            f"synthesis.generator: {name} has no config.json; give a directory with a Hugging Face model"
        )


def _own_engine(config: RunConfig) -> bool:
    """Whether vLLM runs here, and not a server elsewhere or a record of answers."""
    engine = config.synthesis.engine
    return not (engine.endpoint or engine.replay)


# -- disk -----------------------------------------------------------------------------------------------------------


def disk_needs(config: RunConfig, phase: str, source_bytes: int) -> dict[str, float]:
    """Bytes that the phase will have written once it is done: "run", and "checkpoints" beside it.

    By the formulas of `plan`, with the bytes of the real source in place of the recipe's facts.
    """
    given = _given(config, source_bytes)
    plan = make_plan(given)
    needs = {"run": plan.ledger_bytes, "checkpoints": 0.0}
    if phase in TRAINS:
        n = model_parameters(given).total
        # One more than is kept, while the next is written; and the exported model.
        needs["checkpoints"] = 14.0 * n * (config.train.keep_checkpoints + 1)
        needs["run"] += 4.0 * n
    if phase == "continued":
        unique = min(config.continued.tokens / config.continued.repeats, source_bytes / given.bytes_per_token)
        needs["run"] += unique * given.bytes_per_token  # the tee; its compression is not counted on
    if phase == "enhanced":
        synthesis = config.synthesis
        answers = config.enhanced.seeds * len(synthesis.recipes) * synthesis.samples
        needs["run"] += answers * synthesis.sampling.max_tokens * given.bytes_per_token
    return needs


def _given(config: RunConfig, source_bytes: int) -> PlanInput:
    given = plan_input(config)
    vocabulary = given.vocab if config.tokenizer.path else config.tokenizer.vocab_size
    return replace(given, raw_bytes=float(max(1, source_bytes)), vocab=vocabulary)


def check_disk(run: Run, phase: str, source_bytes: int) -> None:
    """Free space where the run and, if they are on a local disk, its checkpoints go. What is there already counts."""
    needs = disk_needs(run.config, phase, source_bytes)
    places = {run.root: needs["run"]}
    local = checkpoint_storage(run.config.train, phase, run.root / "train" / phase).local
    if phase in TRAINS and local is not None:
        place = run.root if local.is_relative_to(run.root) else local
        places[place] = places.get(place, 0.0) + needs["checkpoints"]
    for place, need in places.items():
        free, written = shutil.disk_usage(place).free, _written(place)
        if free < need - written:
            raise UserError(
                f"{place}: {phase} writes up to {need / GIB:.1f} GiB, of which {written / GIB:.1f} are there, and "
                f"{free / GIB:.1f} are free; choose a larger disk with --out, set train.checkpoint_storage elsewhere, "
                "or lower train.keep_checkpoints"
            )


def _written(place: Path) -> int:
    """Bytes below a directory; a file that goes meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total


# -- cluster --------------------------------------------------------------------------------------------------------


def demands(config: RunConfig, phase: str, resources: Resources) -> Iterator[Demand]:
    """What runs at the same time in this phase, part by part."""
    stream = resources.judge_memory + resources.claim_memory
    if phase in TRAINS:
        stream += resources.pack_memory + resources.deal_memory
        cfg = config.train
        amounts = {name: count * cfg.worker_counts[-1] for name, count in room.of_worker(cfg).items()}
        if not cfg.use_gpu:
            amounts["memory"] = cfg.worker_counts[-1] * worker_bytes(config)
        yield Demand("training", "train.num_workers", amounts)
    yield Demand("the stream", "sequences.interleave", {"CPU": 1.0, "memory": float(stream)})
    dedup = config.curation.dedup
    if dedup.partitions > 1:
        index = {"memory": float(dedup.index_bytes)}
        yield Demand("the near-duplicate index", "curation.dedup.expected_documents", index)
    if phase in ("score", "continued"):
        actors = resources.score_actors
        each = {"CPU": resources.score_cpus, "GPU": resources.score_gpus, "memory": resources.score_memory}
        yield Demand("scoring", "ray.score_actors", {name: actors * amount for name, amount in each.items()})
    if phase == "enhanced" and _own_engine(config):
        engine = config.synthesis.engine
        # vLLM takes a CPU and a GPU for each part of a model.
        slots = engine.replicas * engine.tensor_parallel
        amounts = {"CPU": slots * engine.cpus, "GPU": float(slots if _on_gpu(config) else 0)}
        # Answered before training starts, it has gone by then: the larger of the two must fit.
        beside = config.enhanced.start_after < 1
        yield Demand(
            "generation" if beside else "generation, before training", "synthesis.engine.replicas", amounts
        )


def worker_bytes(config: RunConfig) -> float:
    """Memory of a worker without a GPU: fp32 weights, gradients and two moments, 16 bytes a parameter, not sharded;
    and activations. Ray does not reserve it, but it is taken from the same nodes."""
    given = _given(config, 1)
    return 16.0 * model_parameters(given).total + activation_bytes_per_gpu(given)


def _on_gpu(config: RunConfig) -> bool:
    import ray

    device = config.synthesis.engine.device
    return device == "gpu" or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)


def check_cluster(config: RunConfig, phase: str, shard_bytes: list[int]) -> None:
    """The cluster, now or within `train.wait_for_nodes_seconds`, has what all parts of the phase need together."""
    found = list(demands(config, phase, stream_resources(config, shard_bytes)))

    def missing() -> list[str]:
        return [_refusal(name, found) for name in ("CPU", "GPU", "memory") if _short(name, found)]

    lacks = room.wait(missing, f"{phase}: ", config.train.wait_for_nodes_seconds)
    if lacks:
        raise UserError(f"{phase}: {'; '.join(lacks)}")
    if config.curation.dedup.partitions > 1:
        check_memory(config.curation.dedup, cluster_memory())
    _check_store(config, phase, shard_bytes)


def stream_resources(config: RunConfig, shard_bytes: list[int]) -> Resources:
    """What the stream's operators ask of Ray. The dealer holds the sequences of all open shards."""
    ray = config.ray
    open_bytes = sum(sorted(shard_bytes, reverse=True)[: config.sequences.interleave])
    held = int(open_bytes * TOKEN_BYTES / config.corpus.bytes_per_token)
    return Resources(
        score_actors=ray.score_actors,
        score_cpus=ray.score_cpus,
        score_gpus=ray.score_gpus,
        labels=ray.labels.curation,
        score_labels=ray.labels.annotator,
        deal_memory=Resources.deal_memory + held,  # the process itself is the first part
    )


def _total(name: str, found: list[Demand]) -> float:
    """Of one resource, at the time when the phase needs most of it."""
    before = sum(d.amounts.get(name, 0) for d in found if d.part.endswith("before training"))
    rest = sum(d.amounts.get(name, 0) for d in found if not d.part.endswith("before training"))
    return max(before + sum(d.amounts.get(name, 0) for d in found if d.part == "the stream"), rest)


def _short(name: str, found: list[Demand]) -> list[str]:
    return room.short_of({name: _total(name, found)})


def _refusal(name: str, found: list[Demand]) -> str:
    """ "5 CPU, the cluster has 4 (training 2, the stream 1, scoring 2); lower ..." """
    asked = [d for d in found if d.amounts.get(name)]
    parts = ", ".join(f"{d.part} {room.in_words(name, d.amounts[name])}" for d in asked)
    settings = " or ".join(d.setting for d in asked)
    remedy = {"CPU": ", add nodes, or raise ray.num_cpus", "GPU": ", or add nodes with GPUs"}
    return f"needs {_short(name, found)[0]} ({parts}); lower {settings}{remedy.get(name, ', or use larger nodes')}"


def _check_store(config: RunConfig, phase: str, shard_bytes: list[int]) -> None:
    """Two packed shards and two dealt groups at once, or the stream spills to disk at every step."""
    import ray

    train = config.train
    packed = max(shard_bytes) * TOKEN_BYTES / config.corpus.bytes_per_token
    dealt = config.sequences.deal_batches * train.global_batch * config.sequences.seq_len * TOKEN_BYTES
    need = 2 * (packed + dealt) if phase in TRAINS else 0.0
    has = ray.cluster_resources().get("object_store_memory", math.inf)
    if has < need:
        raise UserError(
            f"{phase}: two packed shards and two dealt groups need {need / GIB:.2f} GiB of object store, the cluster "
            f"has {has / GIB:.2f}; lower source.shard_bytes or sequences.deal_batches, or raise ray.object_store_bytes"
        )
