"""Where a step's figures go beside `metrics.jsonl`: Ray's metrics, TensorBoard, Weights & Biases. Rank 0 only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from snowcoder.base import UserError
from train.config import Job


class Tracker(Protocol):
    def step(self, step: int, figures: dict[str, float]) -> None:
        """The figures of an optimizer step, numbers by name."""
        ...

    def close(self) -> None: ...


def trackers(job: Job) -> list[Tracker]:
    """Those that are configured. Raises UserError where one's package is missing."""
    made: list[Tracker] = [RayMetrics(job.phase)]
    if job.cfg.track.tensorboard:
        made.append(TensorBoard(job.phase_dir / "tensorboard"))
    if job.cfg.track.wandb_project:
        made.append(WeightsAndBiases(job))
    return made


class RayMetrics:
    """Gauges `snowcoder_train_*` with the tag `phase`, in Ray's own Prometheus endpoint and its dashboard's Grafana."""

    def __init__(self, phase: str) -> None:
        self._tags = {"phase": phase}
        self._gauges: dict[str, Any] = {}

    def step(self, step: int, figures: dict[str, float]) -> None:
        from ray.util.metrics import Gauge

        for name, value in {**figures, "step": step}.items():
            if "/" in name:
                continue  # one gauge a language would be many series; the record has them
            if name not in self._gauges:
                self._gauges[name] = Gauge(
                    f"snowcoder_train_{name}", f"{name} of the last step", tag_keys=("phase",)
                )
            self._gauges[name].set(value, self._tags)

    def close(self) -> None:
        """Ray forgets them with the process."""


class TensorBoard:
    """Event files under the phase's directory: `tensorboard --logdir RUN/train`."""

    def __init__(self, directory: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "train.track.tensorboard: the package tensorboard is not installed; pip install tensorboard"
            ) from None
        self._writer = SummaryWriter(str(directory))

    def step(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """One run per phase, gone on with after a restart. Needs the package `wandb` and its login (WANDB_API_KEY)."""

    def __init__(self, job: Job) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError(
                "train.track.wandb_project: the package wandb is not installed; pip install wandb"
            ) from None
        name = f"{job.phase_dir.parent.parent.name}-{job.phase}"
        self._run = wandb.init(
            project=job.cfg.track.wandb_project,
            id=name,
            name=name,
            resume="allow",
            dir=str(job.phase_dir),
            config=job.cfg.model_dump(mode="json"),
        )

    def step(self, step: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=step)

    def close(self) -> None:
        self._run.finish()
