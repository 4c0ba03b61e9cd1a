"""Schedules at the points that the paper states."""

from __future__ import annotations

import pytest

from snowcoder.base import UserError
from train import schedules
from train.config import ScheduleConfig

STEP = 512 * 8192  # tokens of a global batch in the paper's phase 1: 4.19M
GENERAL = ScheduleConfig()
CONTINUED = ScheduleConfig(kind="linear", warmup_tokens=1000 * STEP, end_lr=0.0)


def test_phase_1_is_cosine_over_500_billion_tokens() -> None:
    total = 119_209 * STEP
    assert total == pytest.approx(500e9, rel=1e-5)
    assert schedules.at(0, total, GENERAL) == 0.0
    assert schedules.at(300 * STEP, total, GENERAL) == pytest.approx(5.3e-4 / 2)
    assert schedules.at(600 * STEP, total, GENERAL) == 5.3e-4
    middle = (600 + 119_209) / 2 * STEP
    assert schedules.at(middle, total, GENERAL) == pytest.approx((5.3e-4 + 5.3e-5) / 2)
    assert schedules.at(total, total, GENERAL) == pytest.approx(5.3e-5)


def test_phase_2_warms_up_again_and_falls_to_zero() -> None:
    total = 11_921 * STEP
    assert schedules.at(0, total, CONTINUED) == 0.0
    assert schedules.at(1000 * STEP, total, CONTINUED) == 5.3e-4
    assert schedules.at((1000 + 11_921) / 2 * STEP, total, CONTINUED) == pytest.approx(5.3e-4 / 2)
    assert schedules.at(total, total, CONTINUED) == 0.0


def test_arms_of_table_5() -> None:
    falling = ScheduleConfig(kind="linear", peak_lr=5.3e-5, end_lr=0.0, warmup_tokens=0)
    assert schedules.at(0, 100, falling) == 5.3e-5
    assert schedules.at(50, 100, falling) == pytest.approx(5.3e-5 / 2)
    constant = ScheduleConfig(kind="constant", peak_lr=5.3e-5, warmup_tokens=0)
    assert {schedules.at(tokens, 100, constant) for tokens in (0, 50, 100)} == {5.3e-5}


def test_wsd_is_flat_then_falls() -> None:
    cfg = ScheduleConfig(kind="wsd", peak_lr=1.0, end_lr=0.2, warmup_tokens=10, decay_tokens=20)
    rates = [schedules.at(tokens, 100, cfg) for tokens in (5, 10, 79, 80, 90, 100)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.6, 0.2])


@pytest.mark.parametrize("cfg", [GENERAL, CONTINUED])
def test_no_step_is_spent_at_rate_zero(cfg: ScheduleConfig) -> None:
    steps = 11_921
    assert schedules.learning_rate(0, steps, STEP, cfg) == pytest.approx(
        5.3e-4 * 0.5 * STEP / cfg.warmup_tokens
    )
    assert schedules.learning_rate(steps - 1, steps, STEP, cfg) > 0.0


def test_the_mean_rate_does_not_depend_on_the_batch() -> None:
    fine = [schedules.learning_rate(step, 4000, 1 << 10, short()) for step in range(4000)]
    coarse = [schedules.learning_rate(step, 500, 1 << 13, short()) for step in range(500)]
    assert sum(fine) / 4000 == pytest.approx(sum(coarse) / 500, rel=1e-4)


def short() -> ScheduleConfig:
    return ScheduleConfig(warmup_tokens=400 << 10)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(UserError, match="warmup_tokens"):
        schedules.check(599 * STEP, GENERAL)
    schedules.check(600 * STEP, GENERAL)
