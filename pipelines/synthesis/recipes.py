"""What the generator is asked: recipes in YAML, each a versioned chain of chat templates.

The paper's own prompt is not published (section 2.4 names the method). A recipe's hash is part of every request, so
an edited template can never be mistaken for the one that was answered.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Literal

import mmh3
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.language import LANGUAGES
from pipelines.schema import stable_hash
from pipelines.synthesis.requests import Messages
from snowcoder.base import Config, UserError

RECIPES = Path(__file__).parents[2] / "conf" / "synthesis"

_FIELDS = {"language", "source_language", "snippet", "previous", "fence"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Step(Config):
    """One question. Fields: {language} asked for, {source_language} of the seed, {snippet}, {fence} that no code
    block inside can close, and after the first step {previous}, what the last one answered."""

    name: str
    system: str
    user: str
    takes: Literal["code", "text"] = "code"
    """What the next step gets of the answer: its one code block, or all of it."""

    @field_validator("system", "user")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        try:
            used = _fields(template)
        except ValueError as error:
            raise ValueError(f"not a template ({error}); write a brace of your own as {{{{") from error
        if unknown := used - _FIELDS:
            raise ValueError(f"unknown field {sorted(unknown)[0]!r}; there are {', '.join(sorted(_FIELDS))}")
        return template


class Recipe(Config):
    """A way to make a file from a seed."""

    name: str
    version: int = Field(ge=1)
    """Raised with every change of words."""
    source: str = ""
    """Where the idea is from."""
    shows: Literal["snippet", "document"]
    """How much of the seed the first step sees, unless `synthesis.snippet.unit` decides."""
    max_seed_overlap: float | None = Field(None, gt=0, le=1)
    """In place of `verify.max_seed_overlap`."""
    targets: dict[str, tuple[str, ...]] | None = None
    """Seed's language -> languages to write in, one of them drawn per request. None: the seed's own. A seed in
    another language is no question (`no_target`)."""
    steps: tuple[Step, ...] = Field(min_length=1, max_length=8)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("lower-case letters, digits and underscores: it becomes part of paths")
        return name

    @model_validator(mode="after")
    def _chained(self) -> Recipe:
        for languages in (self.targets or {}).items():
            for language in (languages[0], *languages[1]):
                if language not in LANGUAGES:
                    raise ValueError(f"targets: {language!r} is no language of ours")
        for place, step in enumerate(self.steps):
            used = _fields(step.user) | _fields(step.system)
            if "previous" in used and not place:
                raise ValueError(f"step {step.name!r} comes first and has no {{previous}}")
            if ("previous" if place else "snippet") not in used:
                raise ValueError(
                    f"step {step.name!r} does not use {{{'previous' if place else 'snippet'}}}, all that it has"
                )
        if self.steps[-1].takes != "code":
            raise ValueError(f"step {self.steps[-1].name!r} is the last one: it takes code")
        return self

    @property
    def hash(self) -> str:
        """Of everything that decides what is asked."""
        return stable_hash(self.model_dump(mode="json", include={"name", "version", "targets", "steps"}))

    def target(self, source_language: str, seed: int, sample: int) -> str | None:
        """The language to write in; a pure function of its arguments. None: the recipe has none for it."""
        if self.targets is None:
            return source_language
        choices = self.targets.get(source_language, ())
        if not choices:
            return None
        return choices[mmh3.hash(f"{self.name}:{seed}:{sample}", signed=False) % len(choices)]

    def messages(
        self, step: int, *, language: str, source_language: str, snippet: str, previous: str = ""
    ) -> Messages:
        """The chat of one step."""
        # A fence inside what is shown must not close ours.
        longest = max((len(run) for run in re.findall(r"`{3,}|~{3,}", snippet + "\n" + previous)), default=0)
        fields = {
            "snippet": snippet,
            "previous": previous,
            "language": language,
            "source_language": source_language,
            "fence": "~" * (longest + 1) if longest else "```",
        }
        template = self.steps[step]
        return [
            {"role": "system", "content": template.system.format(**fields)},
            {"role": "user", "content": template.user.format(**fields)},
        ]


def load_recipes(names: tuple[str, ...]) -> tuple[Recipe, ...]:
    """The recipes of these names in conf/synthesis, or at these paths, sorted by name. UserError names the field."""
    recipes = {recipe.name: recipe for recipe in map(load_recipe, names)}
    if len(recipes) != len(set(names)):
        raise UserError("synthesis.recipes: two recipes have the same name; rename one of them")
    return tuple(recipes[name] for name in sorted(recipes))


def load_recipe(name: str) -> Recipe:
    """One recipe, by its name or the path of a .yaml file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise UserError(
            f"synthesis.recipes: {name!r} is unknown ({error.strerror}); choose from {known}, or give the path "
            "of a .yaml file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise UserError(f"{path}: {place + ': ' if place else ''}{problem['msg']}") from error
    if path.parent == RECIPES and recipe.name != path.stem:
        raise UserError(f"{path}: name: {recipe.name!r} is not the file's; rename one of them")
    return recipe


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
