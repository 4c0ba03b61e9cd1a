"""The estimators behind every number we print, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution
Z80 = 0.8416212335729143  # the 80 % quantile
RESAMPLES = 10_000


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples, drawn without replacement from n of which c pass, passes.

    Unbiased: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, equation 1). ValueError if k > n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def wilson(passed: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927, JASA 22:209-212); it does not collapse at 0 or at all."""
    if not 0 <= passed <= total or total == 0:
        raise ValueError(f"a proportion needs 0 <= passed <= total and total > 0, got {passed} of {total}")
    p = passed / total
    centre = p + Z95**2 / (2 * total)
    half = Z95 * math.sqrt(p * (1 - p) / total + Z95**2 / (4 * total**2))
    scale = 1 + Z95**2 / total
    # At the ends the bound is 0 or 1 exactly; rounding would miss it by one part in 10^17.
    low = 0.0 if passed == 0 else (centre - half) / scale
    high = 1.0 if passed == total else (centre + half) / scale
    return low, high


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean over tasks, by resampling tasks (Efron 1979)."""
    means = np.concatenate([np.asarray(values)[rows].mean(axis=1) for rows in _resample(len(values), seed)])
    return _interval(means)


@dataclass(frozen=True)
class Difference:
    """A difference in bits per byte and its 95 % interval."""

    value: float
    low: float
    high: float


def paired_difference(
    bits: Sequence[float], control: Sequence[float], sizes: Sequence[int], seed: int = 0
) -> Difference:
    """Bits per byte of a model minus those of a control on the same tasks; negative: the model is better.

    Tasks are resampled as pairs, so that what makes a task hard for both models cancels. `bits` and `control`
    hold each task's bits, `sizes` its bytes.
    """
    if not len(bits) == len(control) == len(sizes) > 0:
        raise ValueError("a paired difference needs the same tasks, at least one, on both sides")
    gap = np.asarray(bits, dtype=np.float64) - np.asarray(control, dtype=np.float64)
    size = np.asarray(sizes, dtype=np.float64)
    ratios = np.concatenate(
        [gap[rows].sum(axis=1) / size[rows].sum(axis=1) for rows in _resample(len(gap), seed)]
    )
    return Difference(float(gap.sum() / size.sum()), *_interval(ratios))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p of at least this uneven a split under a fair coin (McNemar's test, exact form)."""
    n, fewer = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


@dataclass(frozen=True)
class Paired:
    """Two models on the same tasks: the first one's pass@1 minus the second's, and what that is worth."""

    difference: float
    low: float  # 95 %, paired bootstrap over tasks
    high: float
    p: float  # exact McNemar for one sample a task, else the bootstrap's two-sided p
    test: str
    only_first: int  # tasks where the first has the higher share of passing samples
    only_second: int
    tasks: int
    visible: float  # the smallest true difference that this comparison finds 4 times in 5

    @property
    def significant(self) -> bool:
        """At the 5 % level."""
        return self.p < 0.05


def paired_passes(first: Sequence[float], second: Sequence[float], single: bool, seed: int = 0) -> Paired:
    """Compare each task's share of passing samples, in [0, 1], of two models; `single`: one sample a task.

    The bootstrap resamples tasks as pairs (Efron 1979); its p is twice the smaller share of resamples on
    either side of 0. ValueError without tasks or with other numbers of them.
    """
    if not len(first) == len(second) > 0:
        raise ValueError("a paired comparison needs the same tasks, at least one, on both sides")
    gaps = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    wins, losses = int((gaps > 0).sum()), int((gaps < 0).sum())
    means = np.concatenate([gaps[rows].mean(axis=1) for rows in _resample(len(gaps), seed)])
    if single:
        p, test = sign_test(wins, losses), "exact McNemar"
    else:
        sides = min(int((means <= 0).sum()), int((means >= 0).sum()))
        p, test = min(1.0, 2 * (sides + 1) / (RESAMPLES + 1)), "paired bootstrap over tasks"
    return Paired(
        difference=float(gaps.mean()),
        low=_interval(means)[0],
        high=_interval(means)[1],
        p=p,
        test=test,
        only_first=wins,
        only_second=losses,
        tasks=len(gaps),
        visible=visible_difference(float((gaps**2).mean()), len(gaps), single),
    )


def visible_difference(spread: float, tasks: int, single: bool) -> float:
    """The smallest true difference that a two-sided 5 % test finds with 80 % power.

    `spread` is the mean squared difference per task: for one sample the share of tasks on which the models
    disagree. Solves d = (z.975 sqrt(spread) + z.8 sqrt(spread - d^2)) / sqrt(tasks) (Connor 1987, Biometrics
    43:207-211). An observed spread of 0 is no proof of none: at least 3 / tasks is assumed (rule of three).
    With one sample no difference below 6 / tasks can be seen, as 5 wins against none have p = 0.0625.
    """
    spread = min(1.0, max(spread, 3 / tasks))
    low, high = 0.0, math.sqrt(spread)
    for _ in range(60):
        middle = (low + high) / 2
        needed = (Z95 * math.sqrt(spread) + Z80 * math.sqrt(max(0.0, spread - middle**2))) / math.sqrt(tasks)
        low, high = (middle, high) if middle < needed else (low, middle)
    return min(1.0, max(high, 6 / tasks)) if single else high


def _resample(n: int, seed: int, block: int = 500) -> Iterator[np.ndarray]:
    """Row numbers [block, n], drawn with replacement; in blocks, so that 974 tasks do not take 80 MB."""
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES // block):
        yield random.integers(0, n, size=(block, n))


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
