"""Throughput accounting: tokens a second, time spent waiting for data, model FLOPs utilisation."""

from __future__ import annotations

import json
import math
import os
import resource
import time

from train.config import Job
from train.engine import StepResult
from train.model import trained_flops_per_token
from train.trackers import trackers

# Dense bf16 peak in FLOP/s, without sparsity, by how CUDA names the device (vendors' data sheets). An unknown
# device has no utilisation: a number against the wrong peak is worse than none.
DENSE_BF16_PEAK = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L40S": 362e12,
}


def utilisation(
    tokens_per_second: float, flops_per_token: float, devices: int, device_name: str
) -> float | None:
    """Model FLOPs utilisation in [0, 1] over all devices, or None on a device whose peak is not known."""
    peak = DENSE_BF16_PEAK.get(device_name)
    return None if peak is None else tokens_per_second * flops_per_token / (devices * peak)


class StepClock:
    """Times one step after another: first the wait for its rows, then the work."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """The step begins: the loop asks for its rows."""
        self._began = self._arrived = time.perf_counter()

    def rows_arrived(self) -> None:
        self._arrived = time.perf_counter()

    def stop(self) -> tuple[float, float]:
        """(seconds of the step, share of them spent waiting for rows)."""
        seconds = time.perf_counter() - self._began
        return seconds, (self._arrived - self._began) / seconds


class Metrics:
    """Rank 0's record: `metrics.jsonl`, one line a step, and a line on the console now and then.

    `step` counts global batches from 0, like the stream and the audit log; `tokens` are those consumed after
    it. On a restart, lines of steps that were lost are cut off.
    """

    def __init__(self, job: Job, position: int) -> None:
        import torch

        self._job = job
        path = job.phase_dir / "metrics.jsonl"
        if path.exists():
            # By line, as it grows for weeks; and a new file, as a worker that outlived its attempt may hold the old.
            kept = path.with_name(f".{path.name}.kept")
            with path.open() as old, kept.open("w") as new:
                new.writelines(line for line in old if _step_of(line) < position)
                new.flush()
                os.fsync(new.fileno())
            kept.replace(path)
        self._file = path.open("a", buffering=1)  # by line, for those who watch the run
        self._flops = trained_flops_per_token(job.cfg)
        self._device = torch.cuda.get_device_name() if job.cfg.use_gpu else "cpu"
        self._last_progress = -math.inf
        self._trackers = trackers(job)
        self.last: dict[str, float] = {}  # figures of the last step that are numbers

    def record(
        self, step: int, lr: float, result: StepResult, seconds: float, data_wait_share: float
    ) -> None:
        """One optimizer step is done."""
        cfg = self._job.cfg
        speed = cfg.tokens_per_step / seconds
        used = utilisation(speed, self._flops, cfg.num_workers, self._device)
        memory = _peak_memory(cfg.use_gpu)
        line = {
            "step": step,
            "tokens": (step + 1) * cfg.tokens_per_step,
            "loss_tokens": result.loss_tokens,
            "loss": result.loss,
            "lr": lr,
            "grad_norm": result.grad_norm,
            "seconds": seconds,
            "tokens_per_second": speed,
            "data_wait_share": data_wait_share,
            "mfu": used,
            "memory_bytes": memory,
            "time": time.time(),
        }
        self.last = {name: value for name, value in line.items() if value is not None and name != "time"}
        parts = {}
        if result.sums is not None:
            parts = {
                "loss_by_language": self._job.accounts.by_language(result.sums),
                "loss_by_source": self._job.accounts.by_source(result.sums),
            }
        self._file.write(json.dumps(line | parts) + "\n")
        flat = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        for tracker in self._trackers:
            tracker.step(step, self.last | flat)
        if time.monotonic() - self._last_progress >= cfg.progress_every_seconds:
            self._last_progress = time.monotonic()
            print(
                f"{self._job.phase}: step {step + 1:,}/{self._job.total_steps:,}  loss {result.loss:.4f}  "
                f"lr {lr:.2e}  norm {result.grad_norm or math.nan:.2f}  {speed:,.0f} tokens/s  "
                f"waiting for data {data_wait_share:.0%}"
                + ("" if used is None else f"  MFU {used:.1%}")
                + f"  memory {memory / 2**30:.1f} GiB",
                flush=True,
            )

    def commit(self) -> None:
        """Force the record to disk; call before the checkpoint that contains it is committed."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()


def _peak_memory(use_gpu: bool) -> int:
    """Most bytes in use so far by rank 0: the GPU's allocated ones, else the process's resident ones."""
    if use_gpu:
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _step_of(line: str) -> float:
    """Step of a metrics line; infinite for what a killed process left of one."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else math.inf
    except json.JSONDecodeError:
        return math.inf
