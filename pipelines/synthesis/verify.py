"""Which generated files are good enough to train on: one chunk of the request ledger -> one verdict per answer.

The order of the checks is that of `checks.CHECKS`. Those of one file alone are here; duplicates among all files are
`duplicates.Duplicates`', which the caller asks about what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from pipelines.kernels.minhash import estimate_jaccard, minhash, shingle_hashes, signatures
from pipelines.schema import DOCUMENT
from pipelines.stages.language import judge_language
from pipelines.stages.secrets import amend_secrets, judge_secrets
from pipelines.stages.syntax import judge_syntax
from pipelines.synthesis import python_source
from pipelines.synthesis.answer_text import find_file, said_language
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.lint import lint_python
from pipelines.synthesis.requests import request_id

VERIFY_VERSION = 2

VERDICT = pa.schema(
    [
        ("row", pa.int32()),  # place in the chunk
        ("reason", pa.dictionary(pa.int8(), pa.string())),  # null = accepted
        ("recipe", pa.string()),
        ("language", pa.string()),  # asked for
        ("parsed", pa.bool_()),  # false: no parser for the language, so syntax was not checked
        ("truncated", pa.bool_()),  # the end was cut off by `allow_truncated`
        ("lint", pa.float32()),  # ruff's score; null where nothing was linted
        ("seed_overlap", pa.float32()),  # share of the output's shingles found in its seed; null: not reached
        ("seed_jaccard", pa.float32()),  # of the two sets of shingles
        ("seed_jaccard_estimated", pa.float32()),  # from their signatures, as the claim would see them
        ("evidence", pa.string()),  # what the reason rests on, at most 200 characters
        ("text", pa.large_string()),  # the file, null unless accepted
    ]
)

Contaminated = Callable[[Sequence[str], Sequence[str]], Sequence[str | None]]
"""(texts, languages) -> for each the evidence of a benchmark hit, or None."""


class Outcome(NamedTuple):
    """How a program ended that was run with its tests."""

    passed: bool
    evidence: str


Runner = Callable[[Sequence[str]], Sequence[Outcome]]
"""Python files -> how each ended; in a sandbox, which is not this room's."""

_HASH_COMMENTS = frozenset({"Python", "Ruby", "Shell", "Perl", "R", "Julia", "Elixir"})
_EVIDENCE = 200
_SHINGLE = 5  # tokens, as the claim's default
_BINS = 128


@dataclass
class _File:
    """An answer on its way through the checks."""

    row: int
    recipe: str
    language: str
    answer: str
    snippet: str
    reason: str | None = None
    parsed: bool = False
    truncated: bool = False
    lint: float | None = None
    seed_overlap: float | None = None
    seed_jaccard: float | None = None
    seed_jaccard_estimated: float | None = None
    evidence: str | None = None
    text: str = ""
    seems: str = ""  # the language that the answer's fence or its words tell

    def reject(self, reason: str, evidence: str | None = None) -> None:
        self.reason = reason
        self.evidence = None if evidence is None else evidence[:_EVIDENCE]


def verify(
    responses: pa.Table,
    requests: pa.Table,
    config: VerifyConfig,
    contaminated: Contaminated,
    *,
    overlaps: Mapping[str, float] | None = None,
    run: Runner | None = None,
) -> pa.Table:
    """Judge one chunk of answers (schemas RESPONSE and REQUEST, same rows) -> schema VERDICT.

    `overlaps`: recipe -> its own `max_seed_overlap`. `run` is asked when `config.run` is set; all else is a pure
    function. ValueError when the rows are of different chunks, or there is nobody to run programs.
    """
    if responses["ordinal"].to_pylist() != requests["ordinal"].to_pylist():
        raise ValueError("responses and requests are not rows of the same chunk")
    if config.run and run is None:
        raise ValueError("verify.run is set, but there is no sandbox to run programs in")
    snippets = requests["snippet"].to_pylist()
    files = []
    for row, (answer, snippet) in enumerate(zip(responses.to_pylist(), snippets, strict=True)):
        file = _File(row, answer["recipe"], answer["lang"], answer["text"] or "", snippet or "")
        _read(file, answer, config)
        files.append(file)

    left = [file for file in files if file.reason is None]
    for file, hit in zip(left, contaminated(*_texts(left)), strict=True):
        if hit is not None:
            file.reject("contaminated", hit)
    _check_secrets(_standing(files), config)
    for file in _standing(files):
        _check_length(file, config)
    _check_language(_standing(files), config)
    _check_syntax(_standing(files), config)
    _check_lint([file for file in _standing(files) if file.language == "Python"], config)
    for file in _standing(files):
        _check_seed(file, (overlaps or {}).get(file.recipe, config.max_seed_overlap), config)
    if config.run and run is not None:
        _check_runs([file for file in _standing(files) if file.language == "Python"], run, config)
    return _table(files)


def documents(responses: pa.Table, verdicts: pa.Table) -> pa.Table:
    """The accepted files of a chunk as documents: repository `synthetic/<recipe>`, path the request's id."""
    rows = [
        {
            "row": verdict["row"],
            "repo": f"synthetic/{answer['recipe']}",
            "path": request_id(answer["seed"], answer["recipe"], answer["sample"]),
            "lang": verdict["language"],
            "license": "",
            "size": len(verdict["text"].encode()),
            "text": verdict["text"],
            "fault": None,
        }
        for answer, verdict in zip(responses.to_pylist(), verdicts.to_pylist(), strict=True)
        if verdict["reason"] is None
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def with_reasons(verdicts: pa.Table, found: Mapping[int, tuple[str, str]]) -> pa.Table:
    """Verdicts in which these rows are rejected as well: row -> (reason, evidence)."""
    rows = verdicts.to_pylist()
    for row in rows:
        if row["row"] in found:
            row["reason"], row["evidence"] = found[row["row"]]
            row["text"] = None
    return pa.Table.from_pylist(rows, schema=VERDICT)


def _standing(files: list[_File]) -> list[_File]:
    return [file for file in files if file.reason is None]


def _texts(files: list[_File]) -> tuple[list[str], list[str]]:
    return [file.text for file in files], [file.language for file in files]


def _as_documents(files: list[_File]) -> pa.Table:
    columns = {
        "row": [file.row for file in files],
        "repo": [""] * len(files),
        "path": [""] * len(files),
        "lang": [file.language for file in files],
        "license": [""] * len(files),
        "size": [len(file.text.encode("utf-8", "replace")) for file in files],
        "text": [file.text for file in files],
        "fault": [None] * len(files),
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in DOCUMENT})


def _read(file: _File, answer: dict, config: VerifyConfig) -> None:
    """Was there an answer, is there one file in it, and is it whole?"""
    if answer["error"] is not None:
        file.reject(answer["error"].partition(":")[0], answer["error"])
        return
    # Lone surrogates can come out of a tokenizer's bytes; no file holds them.
    file.answer = file.answer.encode("utf-8", "replace").decode()
    found = find_file(file.answer, answer["finish"], file.language, config.allow_truncated)
    file.truncated = found.truncated
    if found.code is None:
        file.reject(found.reason, found.evidence)
    else:
        file.text = found.code


def _check_secrets(files: list[_File], config: VerifyConfig) -> None:
    if config.secrets is None or not files:
        return
    docs = _as_documents(files)
    verdicts = judge_secrets(docs, config.secrets)
    amended = amend_secrets(docs, verdicts)["text"].to_pylist()
    rows = zip(files, verdicts["reason"].to_pylist(), verdicts["edits"].to_pylist(), amended, strict=True)
    for file, reason, edits, text in rows:
        if reason is not None:
            # Where, and not what: a verdict is kept and shown.
            places = ", ".join(f"bytes {edit['begin']} to {edit['end']}" for edit in edits or ())
            file.reject(reason, places or reason)
        else:
            file.text = text


def _check_length(file: _File, config: VerifyConfig) -> None:
    comment = "#" if file.language in _HASH_COMMENTS else "//"
    lines = sum(1 for line in file.text.splitlines() if line.strip() and not line.strip().startswith(comment))
    if lines < config.min_code_lines:
        file.reject("too_short", f"{lines} lines")


def _check_language(files: list[_File], config: VerifyConfig) -> None:
    if config.language is None or not files:
        return
    verdicts = judge_language(_as_documents(files), config.language)
    rows = zip(
        files, *(verdicts[name].to_pylist() for name in ("reason", "lang", "content", "by")), strict=True
    )
    for file, reason, lang, content, by in rows:
        said = said_language(file.answer)
        file.seems = said or content or ""
        if reason is not None:
            file.reject("wrong_language", f"{lang} by its {by}, asked for {file.language}")
        elif said and said not in (file.language, "") and content == said:
            # The fence names another language, and the words inside agree.
            file.reject("wrong_language", f"{said} by its fence and content, asked for {file.language}")


def _check_syntax(files: list[_File], config: VerifyConfig) -> None:
    for file in files:
        if file.language == "Python":
            file.parsed = True
            if (problem := python_source.syntax_problem(file.text)) is not None:
                _reject_syntax(file, problem)
    others = [file for file in files if file.language != "Python"]
    if not others:
        return
    for file, found in zip(
        others, judge_syntax(_as_documents(others), config.syntax).to_pylist(), strict=True
    ):
        file.parsed = found["outcome"] == "parsed"
        strict = file.language not in config.syntax.languages_max_error_share
        if found["reason"] is not None or (strict and found["errors"]):
            share = found["error_share"]
            how = found["outcome"] if share is None else f"{share:.1%} of it in {found['errors']} errors"
            _reject_syntax(file, f"tree-sitter {file.language}: {how}")


def _reject_syntax(file: _File, problem: str) -> None:
    """What does not parse as what was asked for, and says itself that it is something else, is that."""
    if file.seems not in ("", file.language):
        file.reject("wrong_language", f"{file.seems} by its fence or words, not {file.language}: {problem}")
    else:
        file.reject("syntax_error", problem)


def _check_lint(files: list[_File], config: VerifyConfig) -> None:
    if config.lint is None:
        return
    for file, found in zip(files, lint_python([file.text for file in files], config.lint), strict=True):
        file.lint = found.score
        if found.score < config.lint.min_score:
            file.reject("lint", f"{found.score:.1f} of 10: {found.findings}")


def _check_seed(file: _File, max_overlap: float, config: VerifyConfig) -> None:
    """Containment sees a short piece of a long seed, and a seed with much around it; Jaccard sees the whole."""
    both = pa.array([file.text, file.snippet], pa.large_string())
    own, seed = (set(hashes.tolist()) for hashes in shingle_hashes(both, _SHINGLE))
    shared = len(own & seed)
    file.seed_overlap = shared / len(own) if own else 0.0
    file.seed_jaccard = shared / len(own | seed) if own | seed else 0.0
    signed = signatures(minhash(both, bins=_BINS, shingle=_SHINGLE).bins)
    file.seed_jaccard_estimated = float(estimate_jaccard(signed[0], signed[1])) if own and seed else 0.0
    recited = shared / len(seed) if seed else 0.0
    if (
        file.seed_overlap > max_overlap
        or max(file.seed_jaccard, file.seed_jaccard_estimated) > config.max_seed_jaccard
    ):
        file.reject(
            "seed_copy",
            f"{file.seed_overlap:.2f} of it stands in the seed, {recited:.2f} of the seed in it; Jaccard "
            f"{file.seed_jaccard:.2f}, estimated {file.seed_jaccard_estimated:.2f}",
        )


def _check_runs(files: list[_File], run: Runner, config: VerifyConfig) -> None:
    if config.run_needs_tests:
        for file in files:
            if not python_source.tests_something(file.text):
                file.reject("no_tests")
    files = _standing(files)
    for file, outcome in zip(files, run([file.text for file in files]), strict=True):
        if not outcome.passed:
            file.reject("fails", outcome.evidence)
        else:
            file.evidence = outcome.evidence[:_EVIDENCE] or None


def _table(files: list[_File]) -> pa.Table:
    reasons = pa.array([file.reason for file in files], pa.string()).dictionary_encode()
    columns = {
        field.name: [getattr(file, field.name) for file in files]
        for field in VERDICT
        if field.name not in ("reason", "text")
    }
    columns["text"] = [file.text if file.reason is None else None for file in files]
    arrays = [
        reasons.cast(VERDICT.field("reason").type)
        if field.name == "reason"
        else pa.array(columns[field.name], field.type)
        for field in VERDICT
    ]
    return pa.Table.from_arrays(arrays, schema=VERDICT)
