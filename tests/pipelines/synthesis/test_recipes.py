from __future__ import annotations

import pytest
import yaml

from pipelines.synthesis.recipes import RECIPES, Recipe, load_recipe, load_recipes
from snowcoder.base import UserError

# A recipe's words are part of every recorded request. Whoever changes them raises `version` and this hash.
GOLDEN = {
    "concept_program": (1, "a3361f50dc5931cac9dba0359492a48b"),
    "cross_language": (1, "64885d0cd817e3ba609e9bcc03d1b64b"),
    "problem_file": (2, "f4f1ff5a4751c4b1442f5b682cab3fb8"),
    "rewrite": (2, "4bcdc49e56f9af20292f5d5f3ab28df3"),
    "small_file": (2, "af48bd224caab2f5bef16a6d26b1fd01"),
}
NAMES = tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))
SHOWN = {
    "language": "C++",
    "source_language": "Python",
    "snippet": "void f() { return {}; }  // {language} stays",
}


def test_recipes_keep_their_words():
    assert {item.name: (item.version, item.hash) for item in load_recipes(NAMES)} == GOLDEN


@pytest.mark.parametrize("name", NAMES)
def test_every_step_holds_what_it_is_given_verbatim(name):
    recipe = load_recipe(name)
    for step in range(len(recipe.steps)):
        system, user = recipe.messages(step, **SHOWN, previous="a = {b}")
        assert (system["role"], user["role"]) == ("system", "user")
        given = "a = {b}" if step else SHOWN["snippet"]
        assert given in user["content"]
        assert "{snippet}" not in user["content"] + system["content"]
    language = "C++" if name != "concept_program" else ""
    assert language in system["content"] + user["content"]


def test_the_recipes_of_the_literature_are_there_with_their_steps():
    steps = {item.name: [step.name for step in item.steps] for item in load_recipes(NAMES)}
    assert steps["rewrite"] == ["style", "self_contained"]
    assert steps["concept_program"] == ["concepts", "program"]
    assert load_recipe("concept_program").steps[0].takes == "text"
    assert load_recipe("rewrite").shows == "document"


@pytest.mark.parametrize("inside", ["```", "~~~~~~", '"""\n```\nx = 1\n```\n"""'])
def test_a_fence_in_what_is_shown_does_not_close_ours(inside):
    user = load_recipe("problem_file").messages(0, **SHOWN | {"snippet": inside})[1]["content"]
    fence = user.splitlines()[2]
    assert set(fence) == {"~"}
    assert fence not in inside
    assert user.splitlines().count(fence) == 2


def test_targets_are_other_languages_and_depend_on_the_request_alone():
    recipe = load_recipe("cross_language")
    drawn = [recipe.target("Python", seed, 0) for seed in range(200)]
    assert set(drawn) == set(recipe.targets["Python"])
    assert drawn == [recipe.target("Python", seed, 0) for seed in range(200)]
    assert recipe.target("Haskell", 1, 0) is None
    assert load_recipe("rewrite").target("Haskell", 1, 0) == "Haskell"


PLAIN = {
    "name": "mine",
    "version": 1,
    "shows": "snippet",
    "steps": [{"name": "file", "system": "You write {language}.", "user": "{snippet}"}],
}


def written(tmp_path, change):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PLAIN | change))
    return str(path)


def test_a_recipe_of_ones_own_is_given_by_its_path(tmp_path):
    assert load_recipes((written(tmp_path, {}), "rewrite"))[0].name == "mine"


def step(**change):
    return {"steps": [PLAIN["steps"][0] | change]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (step(user="{code}"), "unknown field 'code'"),
        (step(user="{snippet} {"), "not a template"),
        (step(user="write something"), "does not use {snippet}"),
        (step(user="{previous} {snippet}"), "comes first and has no {previous}"),
        (step(takes="text"), "it takes code"),
        ({"steps": []}, "steps"),
        ({"version": 0}, "version"),
        ({"name": "../mine"}, "name"),
        ({"shows": "all"}, "shows"),
        ({"targets": {"Pythn": ["C"]}}, "'Pythn' is no language"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_recipe_is_refused_with_its_file_and_field(tmp_path, change, said):
    with pytest.raises(UserError, match=r"mine\.yaml") as refused:
        load_recipe(written(tmp_path, change))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_and_repeated_names_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"'poem' is unknown.*problem_file"):
        load_recipe("poem")
    (tmp_path / "bad.yaml").write_text("steps: [")
    with pytest.raises(UserError, match="not YAML"):
        load_recipe(str(tmp_path / "bad.yaml"))
    with pytest.raises(UserError, match="the same name"):
        load_recipes((written(tmp_path, {"name": "rewrite"}), "rewrite"))


def test_every_word_changes_the_hash():
    plain = Recipe.model_validate(PLAIN)
    changes = [{"version": 2}, {"name": "yours"}, step(user="{snippet}!"), step(system="You write.")]
    assert len({plain.hash, *(Recipe.model_validate(PLAIN | change).hash for change in changes)}) == 5
    assert Recipe.model_validate(PLAIN | {"source": "a paper"}).hash == plain.hash
