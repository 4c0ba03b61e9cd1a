"""Questions, answers and what is made of them; the model is replaced by recorded answers of several kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set

import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotator import labels
from pipelines.annotator.config import AnnotatorConfig, LabelsConfig
from pipelines.synthesis.engine import Arrival, failure
from pipelines.synthesis.requests import Plan
from snowcoder.base import UserError

EDU = AnnotatorConfig(
    name="edu",
    task="regression",
    outputs=("educational",),
    labels=LabelsConfig(chunk_requests=8, min_parsed=5),
)
ASPECTS = EDU.model_copy(
    update={
        "name": "aspects",
        "outputs": ("readability", "clarity"),
        "label_range": (0.0, 10.0),
        "labels": LabelsConfig(questions="aspects"),
    }
)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("It is clear.\nScore: 4", (4.0,)),
        ("**Score:** 3.5/5", (3.5,)),
        ("The score is 2.", (2.0,)),
        ("Educational score: 3\n\nScore: 3", (3.0,)),
        ("5", (5.0,)),
        (" 4/5. ", (4.0,)),
        ("Score: 3 for style, but Score: 1 for ideas", "several_scores"),
        ("Score: 7", "out_of_range"),
        ("Score: -1", "out_of_range"),
        ("A fine file with 3 functions.", "no_score"),
        ("", "no_score"),
        ("scores of 3 people", "no_score"),
    ],
)
def test_a_score_or_why_there_is_none(answer, label):
    found = labels.parse(answer, EDU)
    assert (found.values or found.verdict) == label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('{"readability": 7, "clarity": 3}', (7.0, 3.0)),
        ('Sure!\n```json\n{"Clarity": "2.5", "Readability": 10, "other": null}\n```', (10.0, 2.5)),
        ('{"note": {}} {"readability": 1, "clarity": 2}', (1.0, 2.0)),
        ('{"readability": 7}', "missing_aspect"),
        ('{"style": 7}', "missing_aspect"),
        ('{"readability": 70, "clarity": 3}', "out_of_range"),
        ('{"readability": NaN, "clarity": 3}', "out_of_range"),
        ('{"readability": "high", "clarity": 3}', "not_a_number"),
        ('{"readability": true, "clarity": 3}', "not_a_number"),
        ('{"readability": [1], "clarity": 3}', "not_a_number"),
        ('{"readability": 7, "clari', "no_json"),
        ("readability 7, clarity 3", "no_json"),
        ("{" * 2000, "no_json"),
    ],
)
def test_aspects_or_why_there_are_none(answer, label):
    found = labels.parse(answer, ASPECTS)
    assert (found.values or found.verdict) == label


class Recorded:
    """An engine that answers by document, and dies after `alive` answers."""

    model, revision, model_hash = "recorded", "", "0123456789abcdef"

    def __init__(self, alive: int = 1000) -> None:
        self.alive, self.asked = alive, 0

    def answers(self, plan: Plan, todo: Mapping[int, Set[int]]) -> Iterator[list[Arrival]]:
        for chunk, answered in todo.items():
            for row in plan.load(chunk).to_pylist():
                if row["ordinal"] in answered:
                    continue
                if self.asked == self.alive:
                    raise ConnectionError("the engine is gone")
                self.asked += 1
                yield [Arrival(chunk, row["ordinal"], _answer(row["seed"]))]


def _answer(seed: int) -> dict:
    if seed % 7 == 3:
        return failure("prompt_too_long: 9000 tokens with the output, 8192 fit")
    text = "I like it." if seed % 7 == 5 else f"Because.\nScore: {seed % 6}"
    return {"prompt_tokens": 9, "output_tokens": 5, "finish": "stop", "text": text, "error": None}


def _documents(count: int) -> list[pa.Table]:
    numbers = list(range(100, 100 + count))
    table = pa.table(
        {"ordinal": numbers, "lang": ["Python"] * count, "text": [f"x = {n}\n" * n for n in numbers]}
    )
    return [table.slice(start, 5) for start in range(0, count, 5)]


def test_a_restart_asks_nothing_twice_and_gives_the_same_labels(tmp_path):
    plan = labels.plan(_documents(30), EDU, tmp_path / "plan", "sample")
    assert (plan.requests, plan.chunks) == (30, 4)
    first = Recorded(alive=13)
    with pytest.raises(ConnectionError):
        list(labels.ask(plan, first, tmp_path / "requests"))
    second = Recorded()
    list(labels.ask(labels.plan(iter(()), EDU, tmp_path / "plan", "sample"), second, tmp_path / "requests"))
    assert first.asked + second.asked == 30
    found = labels.read_labels(tmp_path / "requests", EDU, parameters=134_500_000)
    seeds = [n for n in range(100, 130) if n % 7 not in (3, 5)]
    assert found.ordinal.tolist() == seeds
    np.testing.assert_allclose(found.target[:, 0], [n % 6 / 5 for n in seeds])
    assert found.use.unparsed == {"no_score": 4, "prompt_too_long": 5}
    assert found.use.asked == 30 == found.use.parsed + sum(found.use.unparsed.values())
    assert found.use.noise
    assert not labels.read_labels(tmp_path / "requests", EDU, parameters=46_700_000_000).use.noise
    with pytest.raises(UserError, match=r"0 of 30 answers .* give a label \(25 no_json"):
        labels.read_labels(tmp_path / "requests", ASPECTS, 0)


def test_other_words_are_other_questions(tmp_path):
    labels.plan(_documents(10), EDU, tmp_path, "sample")
    with pytest.raises(UserError, match="another"):
        labels.plan(_documents(10), ASPECTS, tmp_path, "sample")


def test_the_prompt_shows_the_file_and_says_when_it_is_cut():
    cfg = EDU.model_copy(update={"labels": LabelsConfig(max_characters=100)})
    system, user = labels.prompt("print('```')\n" + "x" * 200, "Ada", cfg)
    assert "an Ada file, of which this is the beginning" in user["content"]
    assert user["content"].count("~~~~") == 2
    assert "x" * 88 not in user["content"]
    assert "from 0 to 5" not in system["content"]
    aspects = labels.prompt("x = {}", "Python", ASPECTS)[1]["content"]
    assert "x = {}" in aspects
    example = aspects[aspects.rindex("{") :]
    assert labels.parse(example, ASPECTS).values == (5.0, 6.0)
    assert json.loads(example).keys() == {"readability", "clarity"}


@pytest.mark.parametrize("cfg", [EDU, ASPECTS], ids=["educational", "aspects"])
def test_every_label_fits_the_structure_and_is_read_back(cfg):
    allowed = re.compile(labels.structure(cfg))
    low, high = (int(value) for value in cfg.label_range)
    for point in range(low - 1, high + 2):
        if cfg is EDU:
            answer = f"It shows how a queue is filled.\nScore: {point}"
        else:
            answer = json.dumps(dict.fromkeys(cfg.outputs, point))
        assert bool(allowed.fullmatch(answer)) == (low <= point <= high)
        if low <= point <= high:
            assert labels.parse(answer, cfg).values == (float(point),) * len(cfg.outputs)
    assert not allowed.fullmatch("It shows how a queue is filled.")


def test_the_structure_goes_with_every_request_unless_it_is_turned_off(tmp_path):
    free = EDU.model_copy(update={"labels": EDU.labels.model_copy(update={"structured": False})})
    for name, cfg, sent in (("held", EDU, {"regex": labels.structure(EDU)}), ("free", free, None)):
        plan = labels.plan(_documents(3), cfg, tmp_path / name, "sample")
        for sampling in plan.load(0)["sampling"].to_pylist():
            assert json.loads(sampling).get("structured_outputs") == sent
