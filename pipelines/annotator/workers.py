"""Fitting an annotator's heads, in this process or on Ray Train workers that share the examples out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.annotator.config import HeadConfig, TrainingConfig
from pipelines.annotator.fit import Examples, Fit, Reduce, Stopping, fit_head
from pipelines.annotator.head import Head, Linear, Task
from snowcoder.base import UserError

if TYPE_CHECKING:
    import torch

_PARTS = ("training", "validation")


@dataclass(frozen=True)
class Part:
    """Examples, and for the language's own head: which (-1: none) and with what weight, summing to 1 in each."""

    examples: Examples
    own: np.ndarray  # int32 [n], a place in `Problem.languages`
    own_weight: np.ndarray  # float [n]

    def __len__(self) -> int:
        return len(self.own)

    def of(self, language: int) -> Examples:
        mine = self.own == language
        some = self.examples.select(mine)
        return Examples(some.embeddings, some.target, self.own_weight[mine])


@dataclass(frozen=True)
class Problem:
    """What is fitted. Without `validation` examples training does not stop early."""

    task: Task
    languages: tuple[str, ...]  # those that get a head of their own
    training: Part
    validation: Part


@dataclass(frozen=True)
class Fitted:
    """Heads before calibration. Steps and best step are those of the shared head."""

    head: Head
    steps: int
    best_step: int


def fit(
    problem: Problem,
    cfg: HeadConfig,
    training: TrainingConfig,
    folder: Path,
    labels: Mapping[str, str] | None = None,
) -> Fitted:
    """The shared head, and from it the languages' own, on `training.workers` workers on nodes with these labels.

    `folder` is on storage that all nodes share, absent or a leftover; the caller removes it. Raises UserError when
    training fails.
    """
    if not training.workers:
        return fit_share(problem, cfg, training, bool(len(problem.validation)))
    _write(problem, folder)
    run_on_ray(
        _worker, {"folder": str(folder), "head": cfg.model_dump(), "training": training.model_dump()},
        training, folder, labels,
    )  # fmt: skip
    head, about = Head.load(folder)
    return Fitted(head, **about)


def fit_share(
    problem: Problem,
    cfg: HeadConfig,
    training: TrainingConfig,
    stops_early: bool,
    reduce: Reduce = lambda tensor: tensor,
) -> Fitted:
    """`fit` on one worker's share; `reduce` sums over the workers."""

    def one(some: Examples, held: Examples, start: Linear | None) -> Fit:
        stopping = Stopping(held, training.check_every, training.patience) if stops_early else None
        return fit_head(some, cfg, problem.task, start=start, stopping=stopping, reduce=reduce)

    shared = one(problem.training.examples, problem.validation.examples, None)
    own = {
        name: one(problem.training.of(place), problem.validation.of(place), shared.linear).linear
        for place, name in enumerate(problem.languages)
    }
    return Fitted(Head(shared.linear, problem.task, own), shared.steps, shared.best_step)


def run_on_ray(
    worker: Any,
    config: dict[str, Any],
    training: TrainingConfig,
    folder: Path,
    labels: Mapping[str, str] | None,
) -> None:
    """Run `worker(config)` on `training.workers` Ray Train workers, on nodes with these labels. Raises UserError when
    it fails twice."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = {"GPU": 1.0} if training.use_gpu else {}
    trainer = TorchTrainer(
        worker,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if training.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=training.workers,
            use_gpu=training.use_gpu,
            resources_per_worker={"CPU": training.cpus_per_worker, **gpu},
            label_selector=dict(labels) if labels else None,
        ),
        run_config=RunConfig(
            name="fit",
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=1),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        causes = getattr(error, "worker_failures", None) or {0: error}
        lines = str(next(iter(causes.values()))).strip().splitlines()
        raise UserError(f"annotator: training failed: {lines[-1] if lines else error!r}") from error


def _worker(config: dict[str, Any]) -> None:
    import ray.train
    import torch
    import torch.distributed as distributed

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    training = TrainingConfig.model_validate(config["training"])
    torch.set_num_threads(max(1, int(training.cpus_per_worker)))

    def reduce(tensor: torch.Tensor) -> torch.Tensor:
        if world > 1:
            distributed.all_reduce(tensor)
        return tensor

    folder = Path(config["folder"])
    problem, stops_early = _read(folder, rank, world)
    found = fit_share(problem, HeadConfig.model_validate(config["head"]), training, stops_early, reduce)
    if rank == 0:
        found.head.save(folder, {"steps": found.steps, "best_step": found.best_step})
    ray.train.report({"steps": found.steps})


def _write(problem: Problem, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "problem.json").write_text(
        json.dumps({"task": problem.task, "languages": list(problem.languages)})
    )
    for name in _PARTS:
        part: Part = getattr(problem, name)
        for column, values in _columns(part).items():
            np.save(folder / f"{name}-{column}.npy", values)


def _columns(part: Part) -> dict[str, np.ndarray]:
    some = part.examples
    return {
        "embeddings": some.embeddings,
        "target": some.target,
        "weight": some.weight,
        "own": part.own,
        "own_weight": part.own_weight,
    }


def _read(folder: Path, rank: int, world: int) -> tuple[Problem, bool]:
    """(every `world`-th example from `rank` on, whether anyone has validation examples)."""
    about = json.loads((folder / "problem.json").read_text())
    parts, lengths = [], []
    for name in _PARTS:

        def column(what: str, name: str = name) -> np.ndarray:
            return np.load(folder / f"{name}-{what}.npy", mmap_mode="r")

        lengths.append(len(column("own")))
        embeddings, target, weight, own, own_weight = (
            np.array(column(what)[rank::world])
            for what in ("embeddings", "target", "weight", "own", "own_weight")
        )
        parts.append(Part(Examples(embeddings, target, weight), own, own_weight))
    return Problem(about["task"], tuple(about["languages"]), *parts), lengths[1] > 0
