from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.compare import compare_results, read_result
from evaluation.statistics import paired_passes, sign_test, visible_difference
from snowcoder.base import UserError
from snowcoder.evaluation import compare, conclusion


def result(rows: list[list[bool]], dataset: str = "d", **key: Any) -> dict[str, Any]:
    verdicts = [
        {"task": f"t{task}", "sample": sample, "passed": passed, "reason": "passed" if passed else "failed"}
        for task, row in enumerate(rows)
        for sample, passed in enumerate(row)
    ]
    total, passed = sum(map(len, rows)), sum(map(sum, rows))
    return {
        "humaneval": {
            "verdicts": verdicts,
            "total": total,
            "passed": passed,
            "key": {"dataset": dataset, "sandbox": "bubblewrap", **key},
        }
    }


def test_one_sample_is_the_exact_test() -> None:
    first = result([[True]] * 12 + [[False]] * 8)
    second = result([[True]] * 3 + [[False]] * 17)
    (one,) = compare_results(first, second)
    assert (one.first, one.second) == (0.6, 0.15)
    pair = one.paired
    assert (pair.only_first, pair.only_second, pair.test) == (9, 0, "exact McNemar")
    assert pair.p == pytest.approx(2 / 2**9)
    assert pair.low < 0.45 < pair.high
    assert pair.significant
    assert "A is better by 0.450" in conclusion(one)


def test_many_samples_are_resampled_by_task() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.1, 0.7, 80)
    draw = lambda gain: [list(map(bool, rng.random(10) < share + gain)) for share in hard]  # noqa: E731
    (better,) = compare_results(result(draw(0.25)), result(draw(0.0)))
    assert better.paired.test == "paired bootstrap over tasks"
    assert better.paired.p < 0.01
    assert better.paired.low < 0.25 < better.paired.high
    (same,) = compare_results(result(draw(0.0)), result(draw(0.0)))
    assert not same.paired.significant
    assert "no difference that is more than chance" in conclusion(same)


def test_the_bootstrap_rejects_a_true_null_about_one_time_in_twenty() -> None:
    rng, rejected = np.random.default_rng(1), 0
    for seed in range(200):
        first, second = (rng.binomial(10, 0.3, 60) / 10 for _ in range(2))
        rejected += paired_passes(list(first), list(second), single=False, seed=seed).significant
    assert 2 <= rejected <= 22  # 10 expected; the bounds are four standard errors away


def test_the_visible_difference_is_seen_four_times_in_five() -> None:
    rng, tasks, disagree = np.random.default_rng(2), 400, 0.2
    gap = visible_difference(disagree, tasks, single=True)
    seen = 0
    for _ in range(400):
        kinds = rng.random(tasks)
        wins = int((kinds < (disagree + gap) / 2).sum())
        losses = int(((kinds >= (disagree + gap) / 2) & (kinds < disagree)).sum())
        seen += sign_test(wins, losses) < 0.05
    assert 0.7 < seen / 400 < 0.88


def test_no_disagreement_is_no_proof_of_none() -> None:
    pair = paired_passes([1.0] * 50, [1.0] * 50, single=True)
    assert (pair.p, pair.difference, pair.significant) == (1.0, 0.0, False)
    assert pair.visible >= 6 / 50
    with pytest.raises(ValueError, match="same tasks"):
        paired_passes([], [], single=True)
    assert math.isclose(sign_test(0, 0), 1.0)


def test_other_tasks_are_refused_and_other_settings_told() -> None:
    first = result([[True], [False]])
    with pytest.raises(UserError, match="other tasks"):
        compare_results(first, result([[True], [False]], dataset="e"))
    with pytest.raises(UserError, match="other tasks"):
        compare_results(first, result([[True]]))
    with pytest.raises(UserError, match="nothing to compare: the first has humaneval, the second mbpp"):
        compare_results(first, {"mbpp": first["humaneval"]})
    (one,) = compare_results(first, result([[True], [False]], sandbox="landlock"))
    assert one.cautions == ("sandbox: bubblewrap against landlock",)


def test_a_task_without_a_sample_has_failed() -> None:
    second = result([[True], [False]])
    second["humaneval"]["verdicts"][1]["reason"] = "no_sample"
    (one,) = compare_results(result([[True], [True]]), second)
    assert (one.paired.only_first, one.paired.only_second) == (1, 0)


def test_the_command_ends_with_the_conclusion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("a", [[True]] * 9 + [[False]]), ("b", [[True]] + [[False]] * 9)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result(rows)))
    compare(tmp_path / "a.json", tmp_path / "b.json")
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1].startswith("humaneval: A is better by 0.800 (exact McNemar, p = 0.0078); 10 tasks see")
    compare(tmp_path / "a.json", tmp_path / "b.json", json_=True)
    assert json.loads(capsys.readouterr().out)[0]["paired"]["only_first"] == 8


@pytest.mark.parametrize("content", ["", "[]", '{"model": "x"}'])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json: "):
        read_result(tmp_path / "x.json")
