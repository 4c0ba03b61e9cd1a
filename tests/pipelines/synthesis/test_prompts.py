from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.synthesis.config import SnippetConfig
from pipelines.synthesis.prompts import RECIPES, choose_snippet, recipe
from snowcoder.base import UserError

SNIPPET = SnippetConfig()

# A recipe's words are part of every recorded request. Whoever changes them raises `version` and this hash.
GOLDEN = {
    "problem_file": (1, "1b4ff1128f35a6428e4a012fd95deb3d"),
    "rewrite": (1, "b30e19af2a71ddac9c8ee815e45e95eb"),
    "small_file": (1, "62c6c9548e49e415f08d5d041b55411d"),
}


def test_recipes_keep_their_words():
    assert {name: (item.version, item.hash) for name, item in RECIPES.items()} == GOLDEN


@pytest.mark.parametrize("name", RECIPES)
def test_messages_hold_snippet_and_language_verbatim(name):
    snippet = "void f() { return {}; }  // {language} stays as it is"
    system, user = recipe(name).messages(snippet, "C++")
    assert (system["role"], user["role"]) == ("system", "user")
    assert f"```\n{snippet}\n```" in user["content"]
    assert "C++" in system["content"]
    assert "C++" in user["content"]


def test_a_fence_in_the_snippet_does_not_close_ours():
    user = recipe("problem_file").messages('"""\n```\nx = 1\n```\n"""', "Python")[1]["content"]
    assert user.count("~~~~") == 2


def test_unknown_recipe_names_the_known_ones():
    with pytest.raises(UserError, match=r"'poem' is unknown.*problem_file"):
        recipe("poem")


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="\r\n\v\f\x1c\x1d\x1e"), max_size=60),
        max_size=80,
    ),
    st.integers(0, 2**62),
)
def test_a_snippet_is_whole_consecutive_lines_within_the_limits(lines, seed):
    text = "\n".join(lines)
    snippet = choose_snippet(text, seed, 0, 0, SNIPPET)
    if snippet is None:
        return
    assert snippet == choose_snippet(text, seed, 0, 0, SNIPPET)
    chosen = [line.strip() for line in snippet.split("\n")]
    assert len(chosen) <= SNIPPET.max_lines
    assert len(snippet) <= SNIPPET.max_characters
    assert sum(map(str.isalnum, snippet)) >= SNIPPET.min_word_characters
    source = [line.strip() for line in text.split("\n")]
    assert any(source[i : i + len(chosen)] == chosen for i in range(len(source)))


def test_samples_and_seeds_draw_different_snippets():
    text = "\n".join(f"value_{i} = compute(argument_{i})" for i in range(400))
    drawn = {choose_snippet(text, seed, sample, 0, SNIPPET) for seed in range(20) for sample in range(5)}
    assert len(drawn) > 80
    assert choose_snippet(text, 1, 0, 0, SNIPPET) != choose_snippet(text, 1, 0, 1, SNIPPET)


def test_snippets_are_dedented():
    text = "class A:\n" + "\n".join(f"    def method_{i}(self): return self.value_{i}" for i in range(40))
    assert choose_snippet(text, 3, 0, 0, SNIPPET).startswith("def method_")


@pytest.mark.parametrize("text", ["", "\n\n", "}\n" * 100, "x" * 5000])
def test_nothing_to_show(text):
    assert choose_snippet(text, 0, 0, 0, SNIPPET) is None
