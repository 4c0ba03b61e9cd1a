"""What of a seed document the generator is shown."""

from __future__ import annotations

import textwrap

import mmh3

from pipelines.synthesis.config import SnippetConfig

_TRIES = 8


def show(
    text: str, unit: str, seed: int, sample: int, root: int, config: SnippetConfig
) -> tuple[str | None, str]:
    """(what is shown, "") or (None, why nothing can be: "no_snippet" or "seed_too_long")."""
    if unit == "document":
        whole = text.strip("\n")
        if len(whole) > config.max_document_characters:
            return None, "seed_too_long"
        return (whole, "") if _says_something(whole, config) else (None, "no_snippet")
    snippet = choose_snippet(text, seed, sample, root, config)
    return snippet, "" if snippet else "no_snippet"


def choose_snippet(text: str, seed: int, sample: int, root: int, config: SnippetConfig) -> str | None:
    """Consecutive lines of `text`, dedented; None when none will do.

    A pure function of (root seed, seed document's id, sample). Windows with too few letters are passed over;
    after eight tries the document is given up.
    """
    lines = text.splitlines()
    for attempt in range(_TRIES):
        length_draw, start_draw = mmh3.hash64(f"{root}:{seed}:{sample}:{attempt}", signed=False)
        length = config.min_lines + length_draw % (config.max_lines - config.min_lines + 1)
        start = start_draw % max(1, len(lines) - length + 1)
        window: list[str] = []
        room = config.max_characters
        for line in lines[start : start + length]:
            room -= len(line) + 1
            if room < 0:
                break
            window.append(line.rstrip())
        snippet = textwrap.dedent("\n".join(window)).strip("\n")
        if _says_something(snippet, config):
            return snippet
    return None


def _says_something(snippet: str, config: SnippetConfig) -> bool:
    return sum(map(str.isalnum, snippet)) >= config.min_word_characters
