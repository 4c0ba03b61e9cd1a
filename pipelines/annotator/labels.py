"""Labels by a language model: one question per document, its answer in the request ledger, a label or a verdict.

ANN-EDU (paper 3.4) and FineWeb-Edu ask for one educational score of 0 to 5; Seed-Coder asks for readability,
modularity, clarity and reusability. The questions are in our own words. An answer is a fact: asked once, replayed
after that; parsing it is free, so a better parser needs no model.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.annotator.config import AnnotatorConfig, LabelsConfig
from pipelines.annotator.quality import LabelUse
from pipelines.schema import stable_hash
from pipelines.synthesis.engine import Engine
from pipelines.synthesis.generate import Progress, generate
from pipelines.synthesis.requests import Messages, Plan, Question, question_tables, read_ledger
from snowcoder.base import UserError

PROMPT_VERSION = 1
"""Raised with every change of words."""

_SYSTEM = "You review source code for a collection that people and programs learn programming from."
_EDUCATIONAL = """\
Here is {article} {language} file{cut}:

{fence}
{code}
{fence}

How much could somebody learn about programming from it? Give one point for each of these that is true:
- it is code with a purpose, not data, configuration or generated text;
- it shows a programming idea, if in passing;
- it is clear enough to be followed without the rest of its project;
- it solves a problem step by step, with names or comments that explain;
- it could stand in a good course or textbook as it is.

Say in one sentence why, then end with a line of the form "Score: N", N being the points from {low} to {high}."""
_ASPECTS = """\
Here is {article} {language} file{cut}:

{fence}
{code}
{fence}

Rate it from {low} (worst) to {high} (best) in each of these: {meanings}.
Answer with one JSON object and nothing else, for example {example}"""
_MEANINGS = {
    "readability": "readability (names, layout and comments that make it easy to read)",
    "modularity": "modularity (parts with one task each and few ties between them)",
    "clarity": "clarity (one can tell what it is for and how it does it; no dead or repeated code)",
    "reusability": "reusability (complete and general enough to be used elsewhere)",
}

UNPARSED = ("no_score", "several_scores", "out_of_range", "no_json", "missing_aspect", "not_a_number")
"""Verdicts on answers without a label; an answer that never came has the kind of its error, e.g. "prompt_too_long"."""


class Label(NamedTuple):
    values: tuple[float, ...]  # one per output; () when there is a verdict
    verdict: str = ""


@dataclass(frozen=True)
class Labels:
    ordinal: np.ndarray  # int64 [n] of the documents that have a label
    target: np.ndarray  # float64 [n, outputs] in [0, 1]
    use: LabelUse


def questions(documents: Iterable[pa.Table], cfg: AnnotatorConfig) -> Iterator[Question]:
    """One per document of tables with `ordinal` (ascending), `lang` and `text`."""
    for table in documents:
        for number, lang, text in zip(
            *(table[name].to_pylist() for name in ("ordinal", "lang", "text")), strict=True
        ):
            messages = prompt(text, lang, cfg)
            yield Question(number, f"label_{cfg.labels.questions}", lang, messages, _template(cfg))


def prompt(text: str, lang: str, cfg: AnnotatorConfig) -> Messages:
    """The chat that asks for a document's label."""
    labels = cfg.labels
    shown = text[: labels.max_characters]
    low, high = (f"{value:g}" for value in cfg.label_range)
    fields = {
        "article": "an" if lang[:1] in "AEIOU" and lang else "a",
        "language": lang or "source",
        "cut": "" if len(shown) == len(text) else ", of which this is the beginning",
        "code": shown.rstrip("\n"),
        "fence": "~~~~" if "```" in shown else "```",
        "low": low,
        "high": high,
    }
    if labels.questions == "aspects":
        fields["meanings"] = "; ".join(_MEANINGS.get(name, name) for name in cfg.outputs)
        middle = round(sum(cfg.label_range) / 2)
        fields["example"] = json.dumps({name: middle + place % 2 for place, name in enumerate(cfg.outputs)})
    template = _EDUCATIONAL if labels.questions == "educational" else _ASPECTS
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": template.format(**fields)},
    ]


def plan(documents: Iterable[pa.Table], cfg: AnnotatorConfig, directory: Path, drawn: str) -> Plan:
    """The questions, written once. `drawn` names what decided which documents are asked about. UserError when the
    directory holds other questions."""
    labels = cfg.labels
    sampling = labels.sampling
    if labels.structured:
        sampling = sampling.model_copy(update={"structure": structure(cfg)})
    asked = question_tables(questions(documents, cfg), sampling, cfg.seed, labels.chunk_requests)
    key = stable_hash([sampling.model_dump(mode="json"), labels.chunk_requests, _template(cfg), drawn])
    return Plan.write(asked, directory, key)


def structure(cfg: AnnotatorConfig) -> str:
    """Regular expression of the answers that `prompt` asks for, with whole points."""
    low, high = (int(value) for value in cfg.label_range)
    points = f"({'|'.join(str(point) for point in range(low, high + 1))})"
    if cfg.labels.questions == "aspects":
        return r"\{" + ", ".join(f'"{re.escape(name)}": {points}' for name in cfg.outputs) + r"\}"
    # A sentence that leaves room for the score: a token of prose or code has rarely fewer than two characters.
    return rf"[^\n]{{10,{max(20, 2 * cfg.labels.sampling.max_tokens - 20)}}}\nScore: {points}"


def ask(plan: Plan, engine: Engine, directory: Path) -> Iterator[Progress]:
    """Answer what the ledger in `directory` lacks; a restart asks nothing twice."""
    yield from generate(plan, engine, directory)


def read_labels(directory: Path, cfg: AnnotatorConfig, parameters: int) -> Labels:
    """Labels from the answered ledger. `parameters` of the model that answered; 0: unknown, and so noise.

    Raises UserError when fewer than `labels.min_parsed` answers could be used.
    """
    ordinals: list[int] = []
    values: list[tuple[float, ...]] = []
    verdicts: Counter[str] = Counter()
    model = model_hash = ""
    asked = 0
    for table in read_ledger(directory):
        for row in table.select(["seed", "text", "error", "model", "model_hash"]).to_pylist():
            asked += 1
            model, model_hash = row["model"], row["model_hash"]
            if row["error"] is not None:
                verdicts[row["error"].partition(":")[0]] += 1
                continue
            label = parse(row["text"], cfg)
            if label.verdict:
                verdicts[label.verdict] += 1
            else:
                ordinals.append(row["seed"])
                values.append(label.values)
    if len(values) < cfg.labels.min_parsed:
        found = ", ".join(f"{count} {name}" for name, count in verdicts.most_common())
        raise UserError(
            f"annotator {cfg.name}: {len(values)} of {asked} answers of {cfg.labels.model} give a label ({found}); "
            "take a larger model, or ask about more documents (annotator.labels.documents)"
        )
    raw = np.array(values, np.float64)
    low, high = cfg.label_range
    counts = Counter(int(mean) for mean in raw.mean(1))
    use = LabelUse(
        model=model,
        model_hash=model_hash,
        parameters=parameters,
        noise=parameters < cfg.labels.noise_below,
        asked=asked,
        parsed=len(values),
        unparsed=dict(sorted(verdicts.items())),
        histogram={str(label): counts[label] for label in sorted(counts)},
    )
    return Labels(np.array(ordinals, np.int64), (raw - low) / (high - low), use)


def parse(answer: str, cfg: AnnotatorConfig) -> Label:
    """The label in an answer, or why there is none (`UNPARSED`)."""
    if cfg.labels.questions == "aspects":
        return _parse_aspects(answer, cfg.outputs, cfg.label_range)
    return _parse_score(answer, cfg.label_range)


_SCORE = re.compile(r"\bscore\b\W{0,6}?(?:is\W{0,3}|of\W{0,3})?(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_ALONE = re.compile(r"\W*(-?\d+(?:\.\d+)?)(?:\s*/\s*\d+)?\W*")


def _parse_score(answer: str, span: tuple[float, float]) -> Label:
    """The number after "Score:", in any spelling of that line; or an answer that is nothing but a number."""
    found = [float(number) for number in _SCORE.findall(answer)]
    if not found and (alone := _ALONE.fullmatch(answer)):
        found = [float(alone[1])]
    if not found:
        return Label((), "no_score")
    if len(set(found)) > 1:  # a model that talks on about other scores has not decided
        return Label((), "several_scores")
    return Label((found[0],)) if span[0] <= found[0] <= span[1] else Label((), "out_of_range")


_DECODER = json.JSONDecoder()


def _parse_aspects(answer: str, outputs: Sequence[str], span: tuple[float, float]) -> Label:
    """The first JSON object of the answer that names an aspect; names in any case, numbers also as strings."""
    verdict = "no_json"
    for start in (place for place, sign in enumerate(answer) if sign == "{"):
        try:
            found, _ = _DECODER.raw_decode(answer, start)
        except (ValueError, RecursionError):
            continue
        named = {str(name).strip().lower(): value for name, value in found.items()}
        if not any(name in named for name in outputs):
            verdict = "missing_aspect"
            continue
        if not all(name in named for name in outputs):
            return Label((), "missing_aspect")
        try:
            values = tuple(float(named[name]) for name in outputs)
        except (TypeError, ValueError):
            return Label((), "not_a_number")
        if any(isinstance(named[name], bool) for name in outputs):
            return Label((), "not_a_number")
        inside = all(span[0] <= value <= span[1] for value in values)  # also false for NaN
        return Label(values) if inside else Label((), "out_of_range")
    return Label((), verdict)


def parameters_of(model: Path) -> int:
    """Parameters of a Hugging Face directory, from the headers of its safetensors files; 0 when there are none."""
    from math import prod

    from safetensors import safe_open

    total = 0
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def label_settings(labels: LabelsConfig) -> dict[str, object]:
    """What decides the labels of given documents; the engine changes only the speed."""
    return labels.model_dump(mode="json", exclude={"engine", "noise_below", "min_parsed", "documents"})


def _template(cfg: AnnotatorConfig) -> str:
    words = [_SYSTEM, _EDUCATIONAL, _ASPECTS, _MEANINGS]
    return stable_hash([PROMPT_VERSION, words, cfg.labels.questions, cfg.outputs, cfg.label_range])
