"""What the generator is asked: OSS-Instruct (Magicoder), turned from question and answer into whole files.

The paper's own prompt is not published (section 2.4 names the method). A recipe is a versioned template; its
hash is part of every request, so an edited template can never be mistaken for the one that was answered.
"""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass

import mmh3

from pipelines.schema import stable_hash
from pipelines.synthesis.config import SnippetConfig
from snowcoder.base import UserError


@dataclass(frozen=True, slots=True)
class Recipe:
    """A chat template with the fields {language}, {snippet} and {fence}; new words, new `version`."""

    name: str
    version: int
    system: str
    user: str

    @property
    def hash(self) -> str:
        return stable_hash(asdict(self))

    def messages(self, snippet: str, language: str) -> list[dict[str, str]]:
        """Chat messages that ask for one file in `language`, inspired by `snippet`."""
        # A snippet with a Markdown fence of its own must not close ours.
        fields = {"snippet": snippet, "language": language, "fence": "~~~~" if "```" in snippet else "```"}
        return [
            {"role": "system", "content": self.system.format(**fields)},
            {"role": "user", "content": self.user.format(**fields)},
        ]


_PROBLEM_FILE = Recipe(
    name="problem_file",
    version=1,
    system="You are an experienced programmer. You write short, complete, well documented {language} files.",
    user="""\
Here is a piece of {language} code:

{fence}
{snippet}
{fence}

Let it give you an idea for a new programming problem. Then write one {language} source file that
1. describes the problem in a comment at the top: the input, the output, and one example;
2. solves it with clear functions or classes, each with a short comment saying what it does;
3. ends with a few calls that check the solution on small inputs.

The file must work on its own, use only the standard library, and must not repeat the piece above.
Answer with the file alone, in a single code block.""",
)

# An ablation arm (rewriting instead of OSS-Instruct, as SwallowCode does): same data, nothing invented.
_REWRITE = Recipe(
    name="rewrite",
    version=1,
    system="You are an experienced programmer. You turn rough code into clear, complete {language} files.",
    user="""\
Here is a piece of {language} code taken out of a larger project:

{fence}
{snippet}
{fence}

Rewrite it as one {language} source file that works on its own: define whatever is missing, choose telling
names, handle wrong input, comment each function, and prefer the better algorithm where there is one.
Answer with the file alone, in a single code block.""",
)

# For generators of a few hundred million parameters: a list of demands makes them answer the list.
_SMALL_FILE = Recipe(
    name="small_file",
    version=1,
    system="You write {language} code.",
    user="""\
{fence}
{snippet}
{fence}

Write a new {language} program with the same idea as this code. Begin with a comment that says which problem
it solves, then write a function that solves it, then call the function on two examples.
Reply with one code block.""",
)

RECIPES = {recipe.name: recipe for recipe in (_PROBLEM_FILE, _REWRITE, _SMALL_FILE)}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises UserError."""
    try:
        return RECIPES[name]
    except KeyError:
        raise UserError(
            f"synthesis.recipes: {name!r} is unknown; choose from {', '.join(sorted(RECIPES))}"
        ) from None


def choose_snippet(text: str, seed: int, sample: int, root: int, config: SnippetConfig) -> str | None:
    """Consecutive lines of `text`, dedented; None when none will do.

    A pure function of (root seed, seed document's id, sample). Windows with too few letters are passed over;
    after eight tries the document is given up.
    """
    lines = text.splitlines()
    for attempt in range(8):
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
        if sum(map(str.isalnum, snippet)) >= config.min_word_characters:
            return snippet
    return None
