"""From seeds to questions: (seed, recipe, sample) in order; and from the answers of one step to those of the next.

A recipe of several steps takes as many passes: all first steps are answered, then all second ones. So an engine
starts once a step, not once a request, and each step's answers are facts that the next one's questions follow from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mmh3
import pyarrow as pa

from pipelines.schema import stable_hash
from pipelines.synthesis import requests as ledger
from pipelines.synthesis.answer_text import find_file
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.engine import Engine
from pipelines.synthesis.generate import Progress, generate
from pipelines.synthesis.recipes import Recipe, load_recipes
from pipelines.synthesis.requests import Plan, Question, question_tables
from pipelines.synthesis.snippets import show

# What a seed document is. Rows ascend by `seed`.
SEED = pa.schema(
    [
        ("seed", pa.int64()),  # `schema.ordinal(shard, row)` of the document
        ("lang", pa.string()),
        ("text", pa.large_string()),
    ]
)


def questions(
    seeds: Iterable[pa.Table], config: SynthesisConfig, recipes: tuple[Recipe, ...]
) -> Iterator[Question]:
    """The first step of every (seed, recipe, sample), also of those that cannot be asked, so that the accounting is
    exact. `seeds`: tables of schema SEED, ascending; one is held.

    A snippet that was shown before is not shown again with the same recipe: `repeated_snippet` (16 bytes each are
    kept to know).
    """
    shown: set[bytes] = set()
    last = -1
    for table in seeds:
        for seed, lang, text in zip(*(table[name].to_pylist() for name in SEED.names), strict=True):
            if seed <= last:
                raise ValueError(
                    f"seed {seed} after {last}: seeds must ascend, or the order of requests is not fixed"
                )
            last = seed
            for recipe in recipes:
                unit = recipe.shows if config.snippet.unit == "recipe" else config.snippet.unit
                for sample in range(config.samples):
                    snippet, error = show(text, unit, seed, sample, config.seed, config.snippet)
                    target = recipe.target(lang, seed, sample)
                    if snippet is not None:
                        # Several samples of a whole document are wanted; of a snippet, others are.
                        again = sample if unit == "document" else 0
                        digest = mmh3.hash_bytes(
                            f"{recipe.name}\0{again}\0{snippet}".encode("utf-8", "replace")
                        )
                        error = "repeated_snippet" if digest in shown else ""
                        shown.add(digest)
                    if target is None:
                        error = "no_target"
                    messages = None
                    if snippet is not None and target is not None and not error:
                        messages = recipe.messages(0, language=target, source_language=lang, snippet=snippet)
                    yield Question(
                        seed,
                        recipe.name,
                        target or lang,
                        messages,
                        recipe.hash,
                        sample,
                        snippet=None if error else snippet,
                        source_lang=lang if target not in (None, lang) else None,
                        error=error or None,
                    )


def plan(seeds: Iterable[pa.Table], config: SynthesisConfig, directory: Path, seeds_key: str = "") -> Plan:
    """The plan of first steps, written once; `seeds` are read only where there is none yet.

    `seeds_key` names what chose them (e.g. the selection's key). UserError when the directory holds another plan.
    """
    recipes = load_recipes(config.recipes)
    relevant = config.model_dump(
        mode="json", include={"samples", "chunk_requests", "seed", "snippet", "sampling"}
    )
    key = stable_hash([relevant, {recipe.name: recipe.hash for recipe in recipes}, seeds_key])
    asked = questions(seeds, config, recipes)
    return Plan.write(
        question_tables(asked, config.sampling, config.seed, config.chunk_requests), directory, key
    )


@dataclass(frozen=True)
class Passes:
    """The questions and answers of a run, step after step, under one folder."""

    root: Path
    config: SynthesisConfig
    recipes: tuple[Recipe, ...]

    @property
    def steps(self) -> int:
        return max(len(recipe.steps) for recipe in self.recipes)

    def asked(self, step: int) -> Path:
        return self.root / ("plan" if step == 0 else f"plan-{step}")

    def answered(self, step: int) -> Path:
        return self.root / ("requests" if step == 0 else f"requests-{step}")

    def run(self, first: Plan, engine: Engine) -> Iterator[tuple[int, Progress]]:
        """Answer all steps of all requests: (step, progress) at each commit."""
        current = first
        for step in range(self.steps):
            if step:
                current = self._follow(step, current, engine)
            for progress in generate(current, engine, self.answered(step)):
                yield step, progress

    def final(self, chunk: int) -> pa.Table | None:
        """The chunk's last answers, schema RESPONSE, in the order of the requests; None while a step is missing.

        A step that went wrong is the last one of its request.
        """
        if not (self.answered(self.steps - 1) / ledger.chunk_name(chunk)).exists():
            return None
        table = ledger.read_chunk(self.answered(0), chunk)
        for step in range(1, self.steps):
            later = ledger.read_chunk(self.answered(step), chunk)
            if later.num_rows:
                earlier = table.filter(
                    pa.compute.invert(pa.compute.is_in(table["ordinal"], later["ordinal"]))
                )
                table = pa.concat_tables([earlier, later]).sort_by("ordinal")
        return table

    def _follow(self, step: int, before: Plan, engine: Engine) -> Plan:
        """The questions of a step, which follow from the answers to the one before."""
        key = stable_hash([before.plan_key, engine.model_hash, step])
        tables = (self._followed(step, before, chunk) for chunk in range(before.chunks))
        return Plan.write(tables, self.asked(step), key)

    def _followed(self, step: int, before: Plan, chunk: int) -> pa.Table:
        """One chunk; requests whose recipe has no such step, or whose last answer is of no use, are not in it."""
        recipes = {recipe.name: recipe for recipe in self.recipes if len(recipe.steps) > step}
        asked, answers = before.load(chunk).to_pylist(), ledger.read_chunk(self.answered(step - 1), chunk)
        found: list[Question] = []
        ordinals: list[int] = []
        for request, answer in zip(asked, answers.to_pylist(), strict=True):
            recipe = recipes.get(request["recipe"])
            if recipe is None or answer["error"] is not None:
                continue
            previous: str | None = answer["text"].strip()
            if recipe.steps[step - 1].takes == "code":
                previous = find_file(answer["text"], answer["finish"], request["lang"]).code
            if not previous:
                continue
            messages = recipe.messages(
                step,
                language=request["lang"],
                source_language=request["source_lang"] or request["lang"],
                snippet=request["snippet"],
                previous=previous.strip("\n"),
            )
            ordinals.append(request["ordinal"])
            found.append(
                Question(
                    request["seed"],
                    request["recipe"],
                    request["lang"],
                    messages,
                    recipe.hash,
                    request["sample"],
                    step,
                    request["snippet"],
                    request["source_lang"],
                )
            )
        tables = question_tables(found, self.config.sampling, self.config.seed, max(1, len(found)))
        table = next(tables, ledger.REQUEST.empty_table())
        return table.set_column(0, "ordinal", pa.array(ordinals, pa.int64()))
