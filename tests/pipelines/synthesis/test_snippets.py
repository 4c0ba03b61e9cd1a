from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.synthesis.config import SnippetConfig
from pipelines.synthesis.snippets import choose_snippet, show

SNIPPET = SnippetConfig()


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
    assert show(text, "snippet", 0, 0, 0, SNIPPET) == (None, "no_snippet")


def test_a_document_is_shown_whole_or_not_at_all():
    text = "\n" + "\n".join(f"value_{i} = compute(argument_{i})" for i in range(400)) + "\n"
    assert show(text, "document", 0, 0, 0, SNIPPET) == (None, "seed_too_long")
    roomy = SnippetConfig(max_document_characters=len(text))
    assert show(text, "document", 0, 0, 0, roomy) == (text.strip("\n"), "")
    assert show("}\n", "document", 0, 0, 0, roomy) == (None, "no_snippet")
