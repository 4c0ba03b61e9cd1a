"""The streams: the only file that builds them.

An order's entries travel as small descriptor rows, one block each, so that one entry is one task in every
operator and Ray neither merges nor splits them:

    entries -> [judge]* -> [claim] -> [score]* -> [pack]* -> [deal] -> blocks for the ranks      (* in parallel)

Text is opened inside a task and ends there; between the operators go keys, marks and, at the end, token rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.curation import Curation
from pipelines.manifest import Manifest
from pipelines.operators import Claim, Deal, Judge, Pack, Score
from pipelines.packing import Packing
from pipelines.schema import Shard
from pipelines.sequences.deal import Dealing
from pipelines.sequences.order import Order, seek

if TYPE_CHECKING:
    from ray.data import Dataset

    from pipelines.scoring import Scoring

MiB = 1 << 20
TAIL = (
    "tail.json"  # beside a phase's sequence counts: what is at the end of its order and fills no global batch
)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an operator asks of Ray. Memory is declared, so that Ray admits no more tasks than fit."""

    judge_memory: int = 512 * MiB
    claim_memory: int = 256 * MiB
    score_actors: int = 1
    score_cpus: float = 1
    score_gpus: float = 0
    score_memory: int = 1024 * MiB
    pack_memory: int = 512 * MiB
    deal_memory: int = 256 * MiB
    labels: dict[str, str] = field(default_factory=dict)  # of the nodes that the stream may use; none: all
    score_labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One phase's stream: which shards in which order, through which operators."""

    shards: tuple[Shard, ...]  # by shard number, with their prefixes; those that the order names
    order: Order
    curation: Curation | None  # None: the documents need no judging (synthetic chunks)
    scoring: Scoring | None
    packing: Packing
    resources: Resources

    def shard(self, number: int) -> Shard:
        return self.shards[number]

    @property
    def cpus(self) -> float:
        """CPUs without which the stream cannot move: its actors', and one for the tasks."""
        return 1 + (self.resources.score_actors * self.resources.score_cpus if self.scoring else 0)


def in_order(manifest: Manifest) -> tuple[Shard, ...]:
    """The manifest's shards, each with the chain hash of the order up to it."""
    return tuple(replace(shard, prefix=manifest.prefix(i + 1)) for i, shard in enumerate(manifest.shards))


def training_stream(plan: Plan, dealing: Dealing, position: int, stop: int) -> Dataset:
    """Rows of `sequence_schema` in deal order, from global batch `position` up to `stop`."""

    packing = plan.packing
    found = seek(
        plan.order,
        packing.sequences.interleave,
        position,
        dealing.global_batch,
        lambda number: packing.count(plan.shard(number)),
    )
    every = plan.order.entries()
    dataset = _entries([(n, *every[n]) for n in found.entries], plan.shards)
    dataset = judged(dataset, plan.curation, plan.shards, plan.resources)
    if plan.scoring:
        dataset = scored(dataset, plan.scoring, plan.resources)
    dataset = dataset.map_batches(
        Pack(packing),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
        memory=plan.resources.pack_memory,
        label_selector=plan.resources.labels or None,
    )
    dataset = dataset.map_batches(
        Deal,
        fn_constructor_args=(dealing, found, stop, packing.ledger.root / packing.stage.folder / TAIL),
        batch_size=None,
        batch_format="pyarrow",
        compute=_alone(),
        num_cpus=0,
        memory=plan.resources.deal_memory,
        label_selector=plan.resources.labels or None,
    )
    return dataset.repartition(target_num_rows_per_block=dealing.block_rows, strict=True)


def verdict_stream(
    shards: tuple[Shard, ...], curation: Curation, scoring: Scoring | None, resources: Resources
) -> Iterator[dict[str, Any]]:
    """Judge (and score) shards in order without training on them. Yields {"shard"} as each is committed."""
    dataset = _entries([(i, 0, shard.shard) for i, shard in enumerate(shards)], shards)
    dataset = judged(dataset, curation, shards, resources)
    if scoring:
        dataset = scored(dataset, scoring, resources)
    dataset.context.execution_options.preserve_order = True
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.select(["shard"]).to_pylist()


def judged(
    dataset: Dataset, curation: Curation | None, shards: tuple[Shard, ...], resources: Resources
) -> Dataset:
    """[judge] in parallel, then [claim] alone and in order. Never fused: a claim that waits would hold a CPU."""

    if curation is None:
        return dataset
    dataset = dataset.map_batches(
        Judge(curation),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
        memory=resources.judge_memory,
        label_selector=resources.labels or None,
    )
    return dataset.map_batches(
        Claim,
        fn_constructor_args=(curation, shards, resources.labels),
        batch_size=None,
        batch_format="pyarrow",
        compute=_alone(),
        num_cpus=0,
        memory=resources.claim_memory,
        label_selector=resources.labels or None,
    )


def scored(dataset: Dataset, scoring: Scoring, resources: Resources) -> Dataset:
    import ray.data

    return dataset.map_batches(
        Score,
        fn_constructor_args=(scoring,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=resources.score_actors),
        num_cpus=resources.score_cpus,
        num_gpus=resources.score_gpus,
        memory=resources.score_memory,
        label_selector=resources.score_labels or None,
    )


def _alone() -> Any:
    """One actor and one block at a time: two in flight may start in either order, and the order is the point."""
    import ray.data

    return ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=1)


def _entries(entries: list[tuple[int, int, int]], shards: tuple[Shard, ...]) -> Dataset:
    """(entry, epoch, shard) rows with their shard's description; one row per block."""
    import ray.data

    by_number = {shard.shard: shard for shard in shards}
    rows = [
        {"entry": entry, "epoch": epoch, "shard": number, "descriptor": by_number[number].to_json()}
        for entry, epoch, number in entries
    ]
    return ray.data.from_items(rows, override_num_blocks=max(1, len(rows)))
