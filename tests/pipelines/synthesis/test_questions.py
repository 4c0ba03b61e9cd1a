"""From seeds to requests, and from the answers of one step to the questions of the next."""

from __future__ import annotations

import itertools
import json

import pyarrow as pa
import pytest

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import EngineConfig, SamplingConfig, SnippetConfig, SynthesisConfig
from pipelines.synthesis.questions import SEED, Passes, plan, questions
from pipelines.synthesis.recipes import load_recipes
from pipelines.synthesis.replay import Replay
from pipelines.synthesis.requests import REQUEST, Plan, question_tables, request_id
from snowcoder.base import UserError

CODE = "\n".join(f"def function_{i}(argument):\n    return argument * {i}" for i in range(30))
CONFIG = SynthesisConfig(recipes=("rewrite", "problem_file"), samples=2, chunk_requests=5)


def seeds(ids, text=CODE, lang="Python"):
    texts = [text.replace("argument", f"argument_{i}") for i in ids]
    return pa.table({"seed": ids, "lang": [lang] * len(ids), "text": texts}).cast(SEED)


def chunks(tables, config=CONFIG):
    asked = questions(tables, config, load_recipes(config.recipes))
    return list(question_tables(asked, config.sampling, config.seed, config.chunk_requests))


def planned(tables, config=CONFIG):
    return [row for chunk in chunks(tables, config) for row in chunk.to_pylist()]


def test_order_is_seed_recipe_sample_and_chunks_are_full():
    found = chunks([seeds([3, 4]), seeds([1 << 40])])
    assert [chunk.num_rows for chunk in found] == [5, 5, 2]
    assert all(chunk.schema == REQUEST for chunk in found)
    rows = [row for chunk in found for row in chunk.to_pylist()]
    assert [row["ordinal"] for row in rows] == list(range(12))
    triples = [(row["seed"], row["recipe"], row["sample"]) for row in rows]
    assert triples == list(itertools.product([3, 4, 1 << 40], ["problem_file", "rewrite"], [0, 1]))


def test_the_plan_does_not_depend_on_how_seeds_are_batched():
    assert planned([seeds([1, 2, 3])]) == planned([seeds([1]), seeds([2]), seeds([3])])


def test_every_request_has_its_own_sampling_seed_and_they_follow_the_root_seed():
    rows = planned([seeds(list(range(50)))])
    drawn = [json.loads(row["sampling"])["seed"] for row in rows]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**31 for seed in drawn)
    other = planned([seeds(list(range(50)))], CONFIG.model_copy(update={"seed": 1}))
    assert all(a["sampling"] != b["sampling"] for a, b in zip(rows, other, strict=True))


def test_what_cannot_be_asked_is_a_row_with_its_reason():
    rows = planned(
        [seeds([1], text="}\n}"), seeds([2], text=CODE * 20), seeds([3]), seeds([4], lang="COBOL")]
    )
    [short, long, good, _] = [[row["error"] for row in rows if row["seed"] == seed] for seed in (1, 2, 3, 4)]
    assert short == ["no_snippet"] * 4
    assert long == [None, None, "seed_too_long", "seed_too_long"]
    assert good == [None] * 4
    assert all((row["messages"] is None) == (row["error"] is not None) for row in rows)
    assert all(row["prompt_hash"] == "" for row in rows if row["error"])
    config = CONFIG.model_copy(update={"recipes": ("cross_language",)})
    rows = planned([seeds([1]), seeds([2], lang="COBOL")], config)
    assert [row["error"] for row in rows] == [None, None, "no_target", "no_target"]
    assert {row["source_lang"] for row in rows[:2]} == {"Python"}
    assert all(row["lang"] in row["messages"] and row["lang"] != "Python" for row in rows[:2])


def test_a_snippet_is_shown_once_per_recipe_but_a_document_as_often_as_asked():
    config = CONFIG.model_copy(update={"snippet": SnippetConfig(min_lines=60, max_lines=60)})
    same = pa.concat_tables([seeds([1]), seeds([1]).set_column(0, "seed", pa.array([2]))])
    errors = [(row["recipe"], row["error"]) for row in planned([same], config)]
    first, again = errors[:4], errors[4:]
    # Two samples of 60 lines of a 60-line document are the same snippet; whole documents are sampled on purpose.
    assert first == [("problem_file", None), ("problem_file", "repeated_snippet")] + [("rewrite", None)] * 2
    assert {error for _, error in again} == {"repeated_snippet"}


def test_the_unit_can_be_set_for_all_recipes():
    for unit in ("snippet", "document"):
        config = CONFIG.model_copy(update={"snippet": SnippetConfig(unit=unit)})
        rows = planned([seeds([1])], config)
        whole = [row["snippet"] == CODE.replace("argument", "argument_1") for row in rows]
        assert whole == [unit == "document"] * 4


def test_seeds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="must ascend"):
        planned([seeds([2, 1])])


def test_a_second_plan_reads_the_first_and_leaves_the_seeds_alone(tmp_path):
    def unread():
        raise AssertionError("the seeds were read again")
        yield

    first = plan([seeds([1, 2])], CONFIG, tmp_path, "selection-1")
    assert plan(unread(), CONFIG, tmp_path, "selection-1") == first
    assert (first.chunks, first.requests) == (2, 8)
    assert first.load(1).num_rows == first.rows(1) == 3


@pytest.mark.parametrize(
    ("change", "key"),
    [({"sampling": SamplingConfig(temperature=0.1)}, "a"), ({"recipes": ("rewrite",)}, "a"), ({}, "b")],
)
def test_another_plan_in_the_same_place_is_refused(tmp_path, change, key):
    plan([seeds([1])], CONFIG, tmp_path, "a")
    with pytest.raises(UserError, match="use a new run directory"):
        plan([seeds([1])], CONFIG.model_copy(update=change), tmp_path, key)


def test_engine_settings_are_no_part_of_the_plan(tmp_path):
    first = plan([seeds([1])], CONFIG, tmp_path)
    faster = CONFIG.model_copy(update={"engine": EngineConfig(batch_size=16)})
    assert plan([], faster, tmp_path) == first


def test_a_chunk_key_names_its_questions(tmp_path):
    first = plan([seeds([1, 2])], CONFIG, tmp_path / "a")
    again = plan([seeds([1, 2])], CONFIG, tmp_path / "b")
    other = plan([seeds([1, 3])], CONFIG, tmp_path / "c")
    assert first.key(0) == again.key(0)
    assert first.key(0) != first.key(1)
    assert first.key(1) != other.key(1)


class Scripted:
    """Answers by what it is asked; counts."""

    model, revision, model_hash = "scripted", "1", "s" * 32

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def answers(self, plan, todo):
        from pipelines.synthesis.engine import Arrival, unanswered

        for chunk, answered in todo.items():
            rows, found = unanswered(plan, chunk, answered)
            for row in rows:
                self.asked.append((row["ordinal"], row["step"]))
                text = self.answer(row)
                told = {"prompt_tokens": 1, "output_tokens": 2, "finish": "stop", "text": text, "error": None}
                found.append(Arrival(chunk, row["ordinal"], told))
            yield found


def test_two_steps_take_two_passes_and_the_second_asks_with_the_first_answer(tmp_path):
    config = SynthesisConfig(recipes=("concept_program", "problem_file", "rewrite"), chunk_requests=4)

    def answer(row):
        asked = json.loads(row["messages"])[1]["content"]
        if (row["recipe"], row["step"]) == ("concept_program", 0):
            return f"- queues of {row['seed']}"
        if (row["recipe"], row["step"]) == ("rewrite", 0):
            return "I will not." if row["seed"] == 2 else f"```python\nstyled = {row['seed']}\n```"
        if row["recipe"] == "concept_program":
            assert f"- queues of {row['seed']}" in asked
        if row["recipe"] == "rewrite" and row["step"]:
            assert f"styled = {row['seed']}" in asked
            assert "```python\nstyled" not in asked
        return f"```python\nlast = {row['step']}\n```"

    recipes = load_recipes(config.recipes)
    first = plan([seeds([1, 2, 3])], config, tmp_path / "plan")
    passes, engine = Passes(tmp_path, config, recipes), Scripted(answer)
    steps = [(step, progress.chunk) for step, progress in passes.run(first, engine)]
    assert steps == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    rows = [row for chunk in range(first.chunks) for row in passes.final(chunk).to_pylist()]
    assert [row["ordinal"] for row in rows] == list(range(9))
    # A refusal is no file to go on with, and no further request is spent on it.
    assert [row["step"] for row in rows] == [1, 0, 1, 1, 0, 0, 1, 0, 1]
    assert rows[5]["text"] == "I will not."
    assert all(row["text"] == f"```python\nlast = {row['step']}\n```" for row in rows if row["ordinal"] != 5)
    # A restart asks nothing.
    engine.asked.clear()
    assert list(Passes(tmp_path, config, recipes).run(first, engine)) == []
    assert engine.asked == []


def test_a_first_step_that_was_cut_or_failed_is_the_last_answer(tmp_path):
    config = SynthesisConfig(recipes=("rewrite",))
    answers = {1: "```python\nx = 1", 2: "```\na\n```\n```\nb\n```", 3: "```python\nx = 3\n```"}
    first = plan([seeds([1, 2, 3])], config, tmp_path / "plan")
    passes = Passes(tmp_path, config, load_recipes(config.recipes))
    list(passes.run(first, Scripted(lambda row: answers[row["seed"]])))
    assert [row["step"] for row in passes.final(0).to_pylist()] == [0, 0, 1]
    assert [row["text"] for row in passes.final(0).to_pylist()] == list(answers.values())


def test_a_run_can_be_replayed_from_its_own_ledger_and_from_a_file(tmp_path):
    config = SynthesisConfig(recipes=("problem_file",), chunk_requests=2)
    first = plan([seeds([1, 2, 3])], config, tmp_path / "plan")
    passes = Passes(tmp_path, config, load_recipes(config.recipes))
    list(passes.run(first, Scripted(lambda row: f"text {row['seed']}")))

    again = Passes(tmp_path / "again", config, passes.recipes)
    list(again.run(first, Replay.open(str(passes.answered(0)))))
    texts = [row["text"] for chunk in range(2) for row in again.final(chunk).to_pylist()]
    assert texts == ["text 1", "text 2", "text 3"]

    record = tmp_path / "record.jsonl"
    lines = [{"request": request_id(2, "problem_file", 0), "text": "two"}, {"request": "x", "text": "y"}]
    record.write_text("\n".join(map(json.dumps, lines)))
    third = Passes(tmp_path / "third", config, passes.recipes)
    list(third.run(first, Replay.open(str(record))))
    found = [row for chunk in range(2) for row in third.final(chunk).to_pylist()]
    assert [row["text"] for row in found] == [None, "two", None]
    assert [row["error"] for row in found] == ["not_recorded", None, "not_recorded"]
    record.write_text("{}")
    with pytest.raises(UserError, match=r"record\.jsonl: line 1"):
        Replay.open(str(record))
    with pytest.raises(UserError, match="no ledger and no file"):
        Replay.open(str(tmp_path / "absent"))


def test_any_questions_can_be_asked(tmp_path):
    """Not only recipes: what an annotator asks goes the same way."""
    asked = (
        ledger.Question(seed, "judge", "Python", [{"role": "user", "content": f"Is {seed} good?"}], "v1")
        for seed in range(5)
    )
    tables = question_tables(asked, SamplingConfig(max_tokens=4), 0, 2)
    made = Plan.write(tables, tmp_path / "plan", key="labels-1")
    from pipelines.synthesis.generate import generate

    engine = Scripted(lambda row: json.loads(row["messages"])[0]["content"][3:4])
    assert len(list(generate(made, engine, tmp_path / "answers"))) == 3
    rows = [row for chunk in ledger.read_ledger(tmp_path / "answers") for row in chunk.to_pylist()]
    assert [row["text"] for row in rows] == list("01234")
    assert {row["model"] for row in rows} == {"scripted"}
