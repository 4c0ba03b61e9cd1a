"""Throughput accounting: tokens a second, the share of time spent waiting for data, and model FLOPs utilisation."""

from __future__ import annotations

import time

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
