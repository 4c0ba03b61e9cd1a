from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from evaluation.statistics import bootstrap_mean, paired_difference, pass_at_k, wilson


@pytest.mark.parametrize("n", range(1, 7))
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int) -> None:
    for c in range(n + 1):
        samples = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            draws = list(combinations(samples, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_more_than_there_are_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="k <= n"):
        pass_at_k(1, 1, 2)


def test_wilson_solves_its_equation() -> None:
    # The bounds are the p at which the observed share lies 1.96 standard errors away.
    for passed, total in ((3, 164), (82, 164), (160, 164)):
        for bound in wilson(passed, total):
            share = passed / total
            assert abs(share - bound) / (bound * (1 - bound) / total) ** 0.5 == pytest.approx(
                1.959964, abs=1e-6
            )
    assert wilson(0, 164) == (0.0, pytest.approx(0.0229, abs=1e-4))
    assert wilson(5, 5) == (pytest.approx(0.5655, abs=1e-4), 1.0)


def test_paired_difference_finds_what_unpaired_noise_hides() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(50, 500, 200)
    hardness = random.uniform(1, 5, 200)  # bits per byte of a task, far more varied than the models differ
    control = hardness * sizes
    model = (hardness - 0.05 + random.normal(0, 0.02, 200)) * sizes
    found = paired_difference(model, control, sizes, seed=1)
    assert found.value == pytest.approx((model.sum() - control.sum()) / sizes.sum())
    assert found.low < found.value < found.high < 0
    assert paired_difference(model, control, sizes, seed=1) == found
    # Against the textbook's standard error of a ratio estimator.
    residual = (model - control) - found.value * sizes
    error = residual.std(ddof=1) * len(sizes) ** 0.5 / sizes.sum()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap_mean([0.25] * 10) == (0.25, 0.25)
