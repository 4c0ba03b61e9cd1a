"""The first stage: which language is a document in? Its name is a claim; its content is asked as well.

Three witnesses, from cheap to dear: the name (or what the source says, in `docs["lang"]`), weighed words and signs of
the first lines (`pipelines.kernels.language_evidence`), and a small network (`pipelines.stages.language_model`),
which is asked only where the first two contradict each other or both say too little. Faults are not decided here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NamedTuple

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.kernels.language_evidence import LANGUAGES, language_evidence
from pipelines.kernels.language_words import FAMILIES
from pipelines.language import HEAD_BYTES, detect
from pipelines.sources.notebooks import NOTEBOOK
from pipelines.stages.language_model import Guess, guess
from pipelines.stages.verdicts import REASON, encode, encode_codes, judge_each
from snowcoder.base import Config

LANGUAGE_VERSION = 1

DISAGREEMENT = "language_disagreement"

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),  # "language_disagreement" when that is asked for, else null
        ("lang", REASON),  # decided; "" when nobody knows
        ("named", REASON),  # by the file's name or the source; "" when they say nothing
        ("content", REASON),  # by the cheap evidence; "" when it says nothing
        ("by", REASON),  # who decided: "name", "shebang", "content" or "model"
        ("confidence", pa.float32()),  # of the decision, 0 to 1; not a probability
    ]
)

_PRIOR = 8.0  # as if one telling word had been seen for some other language
_DIALECT_EVIDENCE = 4.0  # weight of its own words that a dialect needs to be told from its family's base
# Prose quotes code of other languages, and a notebook's script is code of one: their content cannot speak against them.
_SETTLED = {NOTEBOOK, "Markdown", "reStructuredText"}
_HASHED_BYTES = 1 << 12
_SHEBANG_BYTES = 128


class LanguageConfig(Config):
    """How the language is decided. All confidences are of 0 to 1; docs/language.md has what they were measured at."""

    head_bytes: int = Field(default=2048, gt=0)
    """Code bytes weighed at the start of a document; comments in front of it do not count."""
    min_confidence: float = Field(default=0.4, ge=0, le=1)
    """Cheap evidence decides alone where there is no name; below this the model is asked."""
    contradiction: float = Field(default=0.7, ge=0, le=1)
    """Cheap evidence against the name from which on the model is asked."""
    override_confidence: float = Field(default=0.95, ge=0, le=1)
    """The model's, or without it the cheap evidence's, from which on content wins over the name."""
    model: Literal["ambiguous", "never"] = "ambiguous"
    """Whether the network is asked at all. It takes some 8 ms a document."""
    max_model_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the ambiguous documents that may be sent to the model: a cap for sources whose names say nothing. One
    is let in by a hash of its text, so that the answer depends on nothing else; the others keep the cheap answer."""
    reject_disagreement: bool = False
    """Reject a document whose decided language is of another family than its name."""


def judge_language(docs: pa.Table, cfg: LanguageConfig) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order. A null text keeps its name."""
    return judge_each(docs, lambda part: _judge(part, cfg), _failed)


def amend_language(docs: pa.Table, verdicts: pa.Table) -> pa.Table:
    """`docs` in the languages that were decided; `verdicts` are those of exactly these rows, in order."""
    at = docs.schema.get_field_index("lang")
    return docs.set_column(at, docs.schema.field(at), verdicts["lang"].cast(pa.string()))


def told_by_content(text: pa.ChunkedArray, cfg: LanguageConfig) -> list[str]:
    """What the cheap evidence alone says of each document, "" where it is not sure enough to decide."""
    content = _weigh(text, cfg.head_bytes)
    return [
        content.lang(row) if sure >= cfg.min_confidence else "" for row, sure in enumerate(content.confidence)
    ]


class _Families(NamedTuple):
    """Which languages are one for the evidence: a dialect with its base."""

    names: tuple[str, ...]  # base languages
    of: dict[str, int]  # language -> its family
    members: tuple[np.ndarray, ...]  # columns of LANGUAGES, the base's first


@cache
def _families() -> _Families:
    base = {dialect: name for name, dialects in FAMILIES.items() for dialect in dialects}
    names = tuple(lang for lang in LANGUAGES if lang not in base)
    of = {lang: names.index(base.get(lang, lang)) for lang in LANGUAGES}
    members = tuple(
        np.array([LANGUAGES.index(lang) for lang in (name, *FAMILIES.get(name, ()))]) for name in names
    )
    return _Families(names, of, members)


class _Content(NamedTuple):
    """What the cheap evidence says of each document."""

    totals: np.ndarray  # float32[n, families]
    family: np.ndarray  # int64[n], the one with most evidence, -1 for none
    code: np.ndarray  # int64[n], the language within that family as a column of LANGUAGES, -1 for none
    confidence: np.ndarray  # float32[n], over the runner-up

    def lang(self, row: int) -> str:
        return LANGUAGES[self.code[row]] if self.code[row] >= 0 else ""

    def against(self, row: int, family: int) -> float:
        """How sure the evidence is that the document is not of this family."""
        best = self.totals[row, self.family[row]]
        return float((best - self.totals[row, family]) / (best + _PRIOR))


def _weigh(text: pa.ChunkedArray, head_bytes: int) -> _Content:
    scores = language_evidence(text, head_bytes)
    members = _families().members
    n = len(scores)
    # Summed column by column in quarters, which is exact: a matrix product may round by the batch.
    totals = np.stack([scores[:, columns].sum(1) for columns in members], 1)
    rows = np.arange(n)
    best = totals.argmax(1)
    top = totals[rows, best]
    others = totals.copy()
    others[rows, best] = 0
    code = np.array([columns[0] for columns in members])[best]
    for family, columns in enumerate(members):
        mine = np.flatnonzero(best == family)
        if len(columns) > 1 and len(mine):
            own = scores[mine[:, None], columns[1:]]
            code[mine] = np.where(own.max(1) >= _DIALECT_EVIDENCE, columns[1:][own.argmax(1)], columns[0])
    silent = top == 0
    return _Content(
        totals,
        np.where(silent, -1, best),
        np.where(silent, -1, code),
        (top - others.max(1)) / (top + _PRIOR),
    )


class _Decision(NamedTuple):
    lang: str
    by: str
    confidence: float


def _judge(docs: pa.Table, cfg: LanguageConfig) -> pa.Table:
    named = _named(docs)
    words = named.dictionary.to_pylist()
    families = _families().of
    # Per name: its family, -1 for none; and whether content may speak against it.
    family = np.array([families.get(word, -1) for word in words] or [0])[_codes(named)]
    settled = np.array([word in _SETTLED for word in words] or [False])[_codes(named)]
    content = _weigh(docs["text"], cfg.head_bytes)
    shebangs = _shebangs(docs["text"])
    settled |= (family >= 0) & ((content.family < 0) | (family == content.family))
    settled |= pc.fill_null(pc.equal(pc.binary_length(docs["text"]), 0), True).to_numpy(zero_copy_only=False)
    settled[[row for row in shebangs if family[row] < 0]] = False
    lang: list[str | None] = named.cast(pa.string()).to_pylist()
    by: list[str | None] = ["name"] * len(named)
    confidence = np.ones(len(named), np.float32)
    for row in np.flatnonzero(settled & pc.equal(named.cast(pa.string()), "").to_numpy(zero_copy_only=False)):
        by[row], confidence[row] = "content", 0.0  # which is not there
    for row in np.flatnonzero(~settled):
        asked = shebangs.get(int(row), "")
        if family[row] < 0:
            decision = _unnamed(docs, int(row), content, asked, cfg)
        else:
            decision = _tested(docs, int(row), lang[row] or "", content, asked, cfg)
        lang[row], by[row], confidence[row] = decision
    columns = {
        "row": docs["row"],
        "lang": encode(lang),
        "named": named,
        "content": encode_codes(np.where(content.code < 0, len(LANGUAGES), content.code), [*LANGUAGES, ""]),
        "by": encode(by),
        "confidence": pa.array(confidence),
    }
    reason = _disagreements(columns["named"], columns["lang"], cfg)
    return pa.table({**columns, "reason": reason}, schema=VERDICT)


def _disagreements(named: pa.DictionaryArray, lang: pa.DictionaryArray, cfg: LanguageConfig) -> pa.Array:
    if not cfg.reject_disagreement:
        return pa.nulls(len(named), REASON)
    families = _families().of
    said, decided = (
        np.array([families.get(word, -1) for word in column.dictionary.to_pylist()] or [0])[_codes(column)]
        for column in (named, lang)
    )
    return encode_codes(np.where((said >= 0) & (said != decided), 0, -1), [DISAGREEMENT])


def _codes(column: pa.DictionaryArray) -> np.ndarray:
    return column.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _unnamed(docs: pa.Table, row: int, content: _Content, asked: str, cfg: LanguageConfig) -> _Decision:
    """No name: the interpreter it asks for, clear evidence, or else the model."""
    if asked:
        return _Decision(asked, "shebang", 1.0)
    sure = float(content.confidence[row])
    if sure < cfg.min_confidence and (answer := _ask(docs, row, cfg)) is not None:
        return _Decision(answer.lang if answer.confidence else "", "model", answer.confidence)
    return _Decision(content.lang(row), "content", sure)


def _tested(
    docs: pa.Table, row: int, name: str, content: _Content, asked: str, cfg: LanguageConfig
) -> _Decision:
    """A name that the content speaks against: it stands unless that is strong, and the model does not take its side."""
    families = _families().of
    family = families[name]
    against = content.against(row, family)
    if asked and families[asked] == content.family[row]:
        return _Decision(asked, "shebang", against)
    if against < cfg.contradiction:
        return _Decision(name, "name", 1.0 - against)
    if (answer := _ask(docs, row, cfg)) is None:
        if against >= cfg.override_confidence:
            return _Decision(content.lang(row), "content", against)
        return _Decision(name, "name", 1.0 - against)
    agrees = families.get(answer.lang) == family
    if answer.lang and not agrees and answer.confidence >= cfg.override_confidence:
        return _Decision(answer.lang, "model", answer.confidence)
    return _Decision(name, "model", answer.confidence if agrees else 1.0 - against)


def _ask(docs: pa.Table, row: int, cfg: LanguageConfig) -> Guess | None:
    """The model's answer; None when it may not be asked about this document."""
    if cfg.model == "never":
        return None
    text = docs["text"][row].as_buffer()
    if (
        cfg.max_model_share < 1
        and mmh3.hash(bytes(text[:_HASHED_BYTES]), signed=False) >= cfg.max_model_share * 2**32
    ):
        return None
    return guess(bytes(text))


def _named(docs: pa.Table) -> pa.DictionaryArray:
    """What the source says of each document; where it says nothing, its path may."""
    named = docs["lang"].fill_null("").combine_chunks()
    silent = np.flatnonzero(pc.and_(pc.equal(named, ""), pc.not_equal(docs["path"].fill_null(""), "")))
    if len(silent):
        told = named.to_pylist()
        for row in silent:
            text = docs["text"][int(row)].as_buffer()
            head = bytes(text[:HEAD_BYTES]) if text is not None else b""
            told[row] = detect(docs["path"][int(row)].as_py(), head)
        named = pa.array(told, pa.string())
    return named.dictionary_encode().cast(REASON)


_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*)?(?:\S*/)?([A-Za-z_]+)")
_INTERPRETERS = {
    "bash": "Shell", "sh": "Shell", "dash": "Shell", "zsh": "Shell", "ksh": "Shell", "ash": "Shell", "fish": "Shell",
    "csh": "Shell", "tcsh": "Shell", "bats": "Shell", "python": "Python", "pypy": "Python", "perl": "Perl",
    "ruby": "Ruby", "rake": "Ruby", "jruby": "Ruby", "node": "JavaScript", "nodejs": "JavaScript", "bun": "TypeScript",
    "deno": "TypeScript", "php": "PHP", "lua": "Lua", "luajit": "Lua", "Rscript": "R", "groovy": "Groovy",
    "tclsh": "Tcl", "wish": "Tcl", "expect": "Tcl", "escript": "Erlang", "elixir": "Elixir", "julia": "Julia",
    "runhaskell": "Haskell", "runghc": "Haskell", "stack": "Haskell", "make": "Makefile", "scala": "Scala",
    "kotlin": "Kotlin", "swift": "Swift", "dart": "Dart", "ocaml": "OCaml", "pwsh": "PowerShell", "rdmd": "D",
    "sbcl": "Common Lisp", "guile": "Scheme", "racket": "Scheme", "coffee": "CoffeeScript", "swipl": "Prolog",
}  # fmt: skip


def _shebangs(text: pa.ChunkedArray) -> dict[int, str]:
    """Row -> the language of the interpreter that the first line asks for."""
    found: dict[int, str] = {}
    for row in np.flatnonzero(pc.fill_null(pc.starts_with(text, "#!"), False)):
        match = _SHEBANG.match(bytes(text[int(row)].as_buffer()[:_SHEBANG_BYTES]))
        lang = _INTERPRETERS.get(match[1].decode()) if match else None
        if lang is not None:
            found[int(row)] = lang
    return found


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    """A document that cannot be judged keeps its name, and why is the reason."""
    named = encode(docs["lang"].fill_null("").to_pylist())
    columns = {name: pa.nulls(docs.num_rows, VERDICT.field(name).type) for name in VERDICT.names}
    errors = encode([reason] * docs.num_rows)
    return pa.table(
        {**columns, "row": docs["row"], "reason": errors, "lang": named, "named": named}, schema=VERDICT
    )
