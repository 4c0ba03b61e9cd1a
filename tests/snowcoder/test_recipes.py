"""Every recipe that comes along is valid, and the ablations say what the paper's tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from snowcoder.config import load_config
from snowcoder.plan import make_plan
from snowcoder.planning import plan_input
from snowcoder.real_enhanced import with_python_share
from train import schedules

CONF = Path("conf")
ARMS = {path.stem: path for path in sorted((CONF / "ablations").glob("*.yaml"))}
STEP = 512 * 8192


@pytest.mark.parametrize("path", [*ARMS.values(), *sorted(CONF.glob("*.yaml"))], ids=lambda path: path.stem)
def test_recipes_are_valid_and_can_be_planned(path: Path) -> None:
    config = load_config(path)
    plan = make_plan(plan_input(config))
    assert [phase.steps for phase in plan.phases if phase.steps < 1] == []
    for phase in ("general", "continued", "enhanced"):
        part = getattr(config, phase)
        schedules.check(
            part.tokens // config.train.tokens_per_step * config.train.tokens_per_step, part.schedule
        )


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_is_a_few_lines_over_a_base(name: str) -> None:
    lines = [line for line in ARMS[name].read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("base: ")
    assert len(lines) <= 8


def test_table_3() -> None:
    for group in ("language_repository", "repository", "file"):
        config = load_config(ARMS[f"table3_{group}"])
        assert config.sequences.group == group
        assert config.general.tokens // config.train.tokens_per_step == 119_209
    assert load_config(ARMS["table3_dependency"]).sequences.files == "dependency"


def test_table_4() -> None:
    arms = {name: load_config(ARMS[f"table4_{name}"]) for name in ("edu", "ins", "hq", "hqins", "random")}
    assert {name: arm.annotator.name for name, arm in arms.items()} == {
        "edu": "edu",
        "ins": "ins",
        "hq": "hq",
        "hqins": "hqins",
        "random": "hqins",
    }
    assert {(arm.continued.tokens, arm.continued.repeats) for arm in arms.values()} == {(10_000_000_000, 1)}
    assert [arm.continued.control for arm in arms.values()] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("arm", "points"),
    [
        ("table5_linear", {0: 5.3e-5, 1192: 2.65e-5, 2384: 0.0}),
        ("table5_constant", {0: 5.3e-5, 1192: 5.3e-5, 2384: 5.3e-5}),
        ("table5_rewarmup", {0: 0.0, 500: 2.65e-4, 1000: 5.3e-4, 1692: 2.65e-4, 2384: 0.0}),
    ],
)
def test_table_5(arm: str, points: dict[int, float]) -> None:
    """Learning rates after whole steps of 4.19M tokens; 10B are 2,384 of them."""
    config = load_config(ARMS[arm])
    total = config.continued.tokens // STEP
    assert total == 2384
    for step, rate in points.items():
        found = schedules.at(step * STEP, total * STEP, config.continued.schedule)
        assert found == pytest.approx(rate, abs=1e-12)


def test_table_5_the_phase_before() -> None:
    config = load_config(CONF / "arctic_snowcoder_1b.yaml")
    total = config.general.tokens // STEP
    points = {0: 0.0, 600: 5.3e-4, total: 5.3e-5}
    for step, rate in points.items():
        found = schedules.at(step * STEP, total * STEP, config.general.schedule)
        assert found == pytest.approx(rate, abs=1e-12)
    assert load_config(ARMS["table5_rewarmup_carried"]).train.carry_optimizer


def test_table_6() -> None:
    found = {}
    for name, path in ARMS.items():
        if name.startswith("table6_") and not name.endswith(("random", "1x10b")):
            continued = load_config(path).continued
            assert continued.tokens == 50_000_000_000
            found[continued.repeats] = continued.tokens / continued.repeats / 1e9
    assert {n: round(unique, 1) for n, unique in found.items()} == {1: 50, 2: 25, 3: 16.7, 4: 12.5, 5: 10}
    assert load_config(ARMS["table6_random"]).continued.control
    once = load_config(ARMS["table6_1x10b"]).continued
    assert (once.tokens, once.repeats) == (10_000_000_000, 1)


def test_arms_of_phase_3() -> None:
    arms = {name: load_config(path).enhanced for name, path in ARMS.items() if name.startswith("phase3_")}
    assert (arms["phase3_real_half_python"].data, arms["phase3_real_half_python"].python_share) == (
        "real",
        0.5,
    )
    assert (arms["phase3_synthetic_natural"].data, arms["phase3_synthetic_natural"].python_share) == (
        "synthetic",
        None,
    )
    assert (arms["phase3_paper"].data, arms["phase3_paper"].python_share) == ("synthetic", 0.5)


def test_python_is_raised_and_the_others_keep_their_proportions() -> None:
    mix = with_python_share({"Python": 1.0, "C": 6.0, "Java": 3.0}, 0.5)
    assert mix == pytest.approx({"Python": 0.5, "C": 1 / 3, "Java": 1 / 6})
    assert with_python_share({"Python": 1.0, "C": 3.0}, None) == {"Python": 0.25, "C": 0.75}
    assert with_python_share({"C": 3.0}, 0.5) == {"C": 1.0}


@pytest.mark.parametrize("gpus", [1, 8, 64])
def test_recipes_for_gpus(gpus: int) -> None:
    config = load_config(CONF / f"arctic_snowcoder_1b_{gpus}xh100.yaml")
    plan = make_plan(plan_input(config))
    assert plan.given.train_gpus == gpus
    assert config.train.tokens_per_step == STEP
    assert plan.state_bytes[config.train.zero_stage] + plan.activation_bytes < plan.given.gpu_memory_bytes
    # Stated assumptions in, time and cost out: 40 % of 989e12 FLOP/s is 37,315 tokens a second.
    hours = sum(phase.hours for phase in plan.phases)
    assert hours == pytest.approx(555e9 / (gpus * 37_315) / 3600, rel=1e-3)
    assert sum(phase.dollars for phase in plan.phases) == pytest.approx(hours * gpus * 3.0)
    cheaper = load_config(
        CONF / f"arctic_snowcoder_1b_{gpus}xh100.yaml",
        ["cost.tokens_per_second=40000", "cost.dollars_per_gpu_hour=2"],
    )
    dollars = sum(phase.dollars for phase in make_plan(plan_input(cheaper)).phases)
    assert dollars == pytest.approx(555e9 / 40_000 / 3600 * 2)
