"""Which generated files are good enough to train on: a stage over one chunk of the request ledger.

Order of the checks, cheap ones first, contamination before duplicates (a leaked file must not own a cluster):

    error, several_blocks, no_code, unfinished, too_short, syntax_error, seed_copy, contaminated, duplicate

Each output has one first reason or none. Near-duplicates are left to the claim stage, which sees the accepted
files as ordinary documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mmh3
import pyarrow as pa

from pipelines.schema import DOCUMENT
from pipelines.synthesis import python_source
from pipelines.synthesis.config import VerifyConfig
from pipelines.synthesis.requests import request_id

VERIFY_VERSION = 1

VERDICT = pa.schema(
    [
        ("row", pa.int32()),  # place in the chunk
        ("reason", pa.dictionary(pa.int8(), pa.string())),  # null = accepted
        ("language", pa.string()),
        ("parsed", pa.bool_()),  # false: no parser for the language, so syntax was not checked
        ("truncated", pa.bool_()),  # the end was cut off by `allow_truncated`
        (
            "seed_overlap",
            pa.float32(),
        ),  # share of the output's shingles found in its seed; null when not reached
        ("evidence", pa.string()),  # what the reason rests on, at most 200 characters
        ("text", pa.large_string()),  # the file, null unless accepted
    ]
)

Contaminated = Callable[[Sequence[str]], Sequence[str | None]]
"""Texts -> for each the evidence of a benchmark hit, or None."""

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_HASH_COMMENTS = frozenset({"Python", "Ruby", "Shell", "Perl", "R", "Julia", "Elixir"})
_EVIDENCE = 200


@dataclass
class Seen:
    """128-bit hashes of the files accepted so far, in chunk order: 16 bytes and one ordinal each."""

    ordinals: dict[bytes, int] = field(default_factory=dict)

    def first(self, text: str, ordinal: int) -> int:
        """Ordinal of the first file with this text (white space at line ends aside); `ordinal` itself if
        new."""
        normal = "\n".join(line.rstrip() for line in text.strip().splitlines())
        return self.ordinals.setdefault(mmh3.hash_bytes(normal.encode("utf-8", "surrogatepass")), ordinal)


@dataclass
class _Verdict:
    row: int
    language: str
    reason: str | None = None
    parsed: bool = False
    truncated: bool = False
    seed_overlap: float | None = None
    evidence: str | None = None
    text: str | None = None

    def reject(self, reason: str, evidence: str | None = None) -> None:
        self.reason, self.text = reason, None
        self.evidence = None if evidence is None else evidence[:_EVIDENCE]


def verify(
    responses: pa.Table,
    requests: pa.Table,
    config: VerifyConfig,
    contaminated: Contaminated,
    seen: Seen,
) -> pa.Table:
    """Judge one chunk of answers (schemas RESPONSE and REQUEST, same rows) -> schema VERDICT.

    Pure but for `seen`, which gains the accepted files: call it on the chunks in order, and the result
    depends on the ledger alone.
    """
    if responses["ordinal"].to_pylist() != requests["ordinal"].to_pylist():
        raise ValueError("responses and requests are not rows of the same chunk")
    snippets = requests["snippet"].to_pylist()
    verdicts = [
        _judge(row, answer, snippet, config)
        for row, (answer, snippet) in enumerate(zip(responses.to_pylist(), snippets, strict=True))
    ]
    standing = [verdict for verdict in verdicts if verdict.reason is None]
    hits = contaminated([verdict.text or "" for verdict in standing])
    ordinals = responses["ordinal"].to_pylist()
    for verdict, hit in zip(standing, hits, strict=True):
        if hit is not None:
            verdict.reject("contaminated", hit)
            continue
        first = seen.first(verdict.text or "", ordinals[verdict.row])
        if first != ordinals[verdict.row]:
            verdict.reject("duplicate", f"of request {first}")
    columns = {
        name: [getattr(verdict, name) for verdict in verdicts] for name in VERDICT.names if name != "reason"
    }
    reasons = pa.array([verdict.reason for verdict in verdicts], pa.string()).dictionary_encode()
    arrays = [
        reasons.cast(VERDICT.field("reason").type)
        if name == "reason"
        else pa.array(columns[name], VERDICT.field(name).type)
        for name in VERDICT.names
    ]
    return pa.Table.from_arrays(arrays, schema=VERDICT)


def accepted_documents(responses: pa.Table, verdicts: pa.Table) -> pa.Table:
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


def extract_code(answer: str) -> tuple[str | None, str]:
    """(code, shape) of an answer. Shapes: "block", "open_block" (never closed), "bare" (no fence),
    "several_blocks".

    Only "several_blocks" has no code: which of them would be the file, nobody can say.
    """
    fences = list(_FENCE.finditer(answer))
    if not fences:
        return answer.strip("\n"), "bare"
    start, blocks = None, []
    mark = ""
    for fence in fences:
        if start is None:
            start, mark = fence.end() + 1, fence[1][0]
        elif fence[1][0] == mark and not fence[2].strip():
            blocks.append(answer[start : fence.start()])
            start = None
    if start is not None:
        return (None, "several_blocks") if blocks else (answer[start:], "open_block")
    return (blocks[0], "block") if len(blocks) == 1 else (None, "several_blocks")


def _judge(row: int, answer: dict, snippet: str | None, config: VerifyConfig) -> _Verdict:
    """Every check that needs this answer alone."""
    verdict = _Verdict(row=row, language=answer["lang"])
    if answer["error"] is not None:
        verdict.reject(answer["error"].partition(":")[0], answer["error"])
        return verdict
    code, shape = extract_code(answer["text"])
    python = verdict.language == "Python"
    if code is None:
        verdict.reject(shape)
        return verdict
    # A fence that was never closed is a cut file even when the model stopped by itself. A closed one is whole
    # even when the model went on talking until its limit.
    cut = shape == "open_block" or (shape == "bare" and answer["finish"] == "length")
    if not code.strip():
        verdict.reject("no_code")
        return verdict
    if cut:
        whole = python_source.complete_prefix(code) if python and config.allow_truncated else None
        if whole is None:
            verdict.reject("unfinished", code[-_EVIDENCE:])
            return verdict
        code, verdict.truncated = whole, True
    problem = python_source.syntax_problem(code) if python else None
    # Without a fence only a parser tells code from prose. Other languages have none here, so they need the
    # fence.
    if shape == "bare" and (not python or problem is not None or not python_source.defines_something(code)):
        verdict.reject("no_code", code)
        return verdict
    comment = "#" if verdict.language in _HASH_COMMENTS else "//"
    lines = sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith(comment))
    if lines < config.min_code_lines:
        verdict.reject("too_short", f"{lines} lines")
        return verdict
    verdict.parsed = python
    if problem is not None:
        verdict.reject("syntax_error", problem)
        return verdict
    verdict.seed_overlap = shared_shingles(code, snippet or "", config.shingle_words)
    if verdict.seed_overlap > config.max_seed_overlap:
        verdict.reject("seed_copy", f"{verdict.seed_overlap:.2f} of it stands in the seed")
        return verdict
    verdict.text = code.strip("\n") + "\n"
    return verdict


def shared_shingles(text: str, seed: str, words: int) -> float:
    """Share of the text's distinct word shingles that also stand in `seed`, from 0 to 1.

    Containment, not Jaccard: it is at least the Jaccard similarity, and still sees a short piece of a long
    seed.
    """
    own = _shingles(text, words)
    return len(own & _shingles(seed, words)) / len(own) if own else 0.0


def _shingles(text: str, words: int) -> set[tuple[str, ...]]:
    tokens = re.findall(r"\w+|[^\w\s]", text)
    return {tuple(tokens[i : i + words]) for i in range(len(tokens) - words + 1)}
