"""The licence of a document, and who asked not to be trained on: from the repository's words and the file's own.

A file's header wins over its repository: vendored files keep their licence. What was decided and from what is in
the verdict, so that another policy needs no text (`rejudge`). A header may be taken off, for it teaches a model
nothing that the first hundred files did not (OpenCoder strips them, arXiv 2411.04905, appendix A).
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.kernels.edits import EDIT, apply_edits
from pipelines.kernels.headers import (
    DASH,
    DASH_BLOCK,
    HASH,
    HASKELL,
    MARKUP,
    PAREN,
    PERCENT,
    SEMICOLON,
    SLASH,
    head_words,
    headers,
)
from pipelines.kernels.text import text_buffers
from pipelines.schema import stable_hash
from pipelines.stages.licence_phrases import expressions
from pipelines.stages.spdx import (
    PERMISSIVE,
    UNKNOWN_WORDS,
    licences,
    normalise,
    parsed,
    satisfied,
    stated_expression,
)
from pipelines.stages.verdicts import REASON, encode, encode_codes, judge_each
from snowcoder.base import Config, UserError

LICENCE_VERSION = 1

REASONS = ("opted_out", "licence")
"""In order: what an owner asked for comes before what a licence allows."""
SOURCES = ("none", "metadata", "header")

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),
        ("spdx", REASON),  # canonical expression; "" where nothing is stated or it is not understood
        ("source", REASON),  # who stated it, of SOURCES; "metadata" with "" in `spdx` is words not understood
        ("conflict", pa.bool_()),  # header and metadata name different licences
        ("header_begin", pa.int32()),  # bytes; the leading licence or copyright comment
        ("header_end", pa.int32()),  # behind it and its blank lines; 0 where there is none
    ]
)

_STYLES = {
    SLASH: (
        "C", "C++", "C#", "CSS", "CUDA", "D", "Dart", "GLSL", "Go", "Groovy", "Java", "JavaScript",
        "Kotlin", "Less", "Objective-C", "PHP", "Protocol Buffer", "Rust", "SCSS", "Scala", "Solidity",
        "Swift", "SystemVerilog", "Thrift", "TypeScript", "Verilog", "Zig", "LESS", "F#", "HCL",
    ),
    HASH: (
        "Python", "Ruby", "Shell", "Perl", "R", "YAML", "TOML", "Makefile", "CMake", "Dockerfile", "Elixir",
        "Julia", "Nim", "Cython", "CoffeeScript", "Tcl", "PowerShell", "PHP", "GraphQL", "HCL",
    ),
    DASH: ("Haskell", "Lua", "SQL", "Ada", "Elm", "VHDL"),
    SEMICOLON: ("Common Lisp", "Scheme", "Clojure", "Emacs Lisp", "LLVM"),
    PERCENT: ("TeX", "Erlang", "MATLAB", "Prolog"),
    MARKUP: ("HTML", "XML", "Markdown", "Vue"),
    PAREN: ("OCaml", "F#", "Pascal"),
    HASKELL: ("Haskell", "Elm"),
    DASH_BLOCK: ("Lua",),
}  # fmt: skip
# SQL and Prolog know block comments too.
_STYLE_OF = {
    name: sum(style for style, names in _STYLES.items() if name in names)
    for names in _STYLES.values()
    for name in names
} | {"SQL": DASH | SLASH, "Prolog": PERCENT | SLASH}


class LicenceConfig(Config):
    """Which licences may be trained on, and what is done with their headers."""

    policy: Literal["any", "permissive", "permissive_or_none", "list"] = "any"
    """`permissive`: licences of `spdx.PERMISSIVE`; `permissive_or_none`: also files of which nobody states a licence
    (The Stack v2); words that nobody understands are a statement. `list`: those of `allowed`."""
    allowed: tuple[str, ...] = ()
    """SPDX ids that the policy `list` allows."""
    head_bytes: int = Field(default=4096, ge=64, le=1 << 20)
    """How much of a file's start is searched for its licence."""
    strip_headers: bool = False
    """Take the leading licence or copyright comment off (OpenCoder)."""
    opt_out: tuple[str, ...] = ()
    """Files that list repositories whose owners object, one a line: a name, or a pattern with `*` and `?`; `#` starts
    a comment. Case does not matter, and a name without a version means all of them."""

    def fingerprint(self) -> str:
        """Hash of all that decides a verdict: also what the lists say. UserError when one cannot be read."""
        return stable_hash([self.model_dump(mode="json"), [opted_out(path) for path in self.opt_out]])


def opted_out(path: str) -> list[str]:
    """The names and patterns of one opt-out list. UserError when it cannot be read or a line is no repository."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(
            f"{path}: the opt-out list cannot be read ({why}); give a text file in licence.opt_out"
        ) from error
    names = []
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip().lower()
        if len(name.split()) > 1:
            raise UserError(f"{path}:{number}: {name!r} is no repository; write one name or pattern per line")
        if name:
            names.append(name)
    return sorted(set(names))


def judge_licence(docs: pa.Table, cfg: LicenceConfig) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order.

    UserError when an opt-out list cannot be read.
    """
    matcher = _opt_out_matcher(tuple(name for path in cfg.opt_out for name in opted_out(path)))
    return judge_each(docs, lambda part: _judge(part, cfg, matcher), _failed)


def amend_licence(docs: pa.Table, verdicts: pa.Table, cfg: LicenceConfig) -> pa.Table:
    """`docs` without the headers that their verdicts mark, if `cfg.strip_headers`; else `docs` itself."""
    if not cfg.strip_headers:
        return docs
    begin, end = (verdicts[name].to_numpy() for name in ("header_begin", "header_end"))
    marked = end > 0
    spans = pa.StructArray.from_arrays(
        [
            pa.array(begin[marked], pa.int32()),
            pa.array(end[marked], pa.int32()),
            pa.array(np.zeros(marked.sum(), np.int8)),
        ],
        fields=list(EDIT),
    )
    edits = pa.ListArray.from_arrays(
        pa.array(np.cumsum(np.concatenate([[0], marked])).astype(np.int32)), spans
    )
    return docs.set_column(docs.column_names.index("text"), "text", apply_edits(docs["text"], edits, [""]))


def rejudge(verdicts: pa.Table, docs: pa.Table, cfg: LicenceConfig) -> pa.Table:
    """The verdicts under another policy or opt-out list, from the ledger and the documents' `repo` alone."""
    matcher = _opt_out_matcher(tuple(name for path in cfg.opt_out for name in opted_out(path)))
    faults = verdicts["reason"].cast(pa.string())
    faults = pc.if_else(
        pc.fill_null(pc.starts_with(faults, "error:"), False), faults, pa.scalar(None, pa.string())
    )
    reason = pc.coalesce(
        faults, _reasons(docs["repo"], verdicts["spdx"], verdicts["source"], cfg, matcher).cast(pa.string())
    )
    place = verdicts.column_names.index("reason")
    return verdicts.set_column(place, "reason", reason.combine_chunks().dictionary_encode().cast(REASON))


def _judge(docs: pa.Table, cfg: LicenceConfig, matcher: re.Pattern[str] | None) -> pa.Table:
    stated = _by_value(docs["license"].fill_null(""), normalise)
    silent = _by_value(docs["license"].fill_null(""), lambda words: words.strip().lower() in UNKNOWN_WORDS)
    styles = _by_value(docs["lang"].fill_null(""), lambda lang: _STYLE_OF.get(lang, 0)).astype(np.int64)
    found = headers(docs["text"], styles, cfg.head_bytes)
    own = _own_licences(docs["text"], found.legal, cfg.head_bytes)
    spdx = [header or metadata for header, metadata in zip(own, stated, strict=True)]
    source = np.where([bool(header) for header in own], 2, np.where(silent, 0, 1))
    conflict = [_conflict(header, metadata) for header, metadata in zip(own, stated, strict=True)]
    spdx_column, source_column = encode(spdx), encode_codes(source, list(SOURCES))
    columns = {
        "row": docs["row"],
        "reason": _reasons(docs["repo"], spdx_column, source_column, cfg, matcher),
        "spdx": spdx_column,
        "source": source_column,
        "conflict": pa.array(conflict, pa.bool_()),
        "header_begin": pa.array(found.begin),
        "header_end": pa.array(found.end),
    }
    return pa.table(columns, schema=VERDICT)


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    n = docs.num_rows
    zero = pa.array(np.zeros(n, np.int32))
    unknown = encode([""] * n), encode(["none"] * n), pa.array([False] * n)
    return pa.table([docs["row"], encode([reason] * n), *unknown, zero, zero], schema=VERDICT)


def _own_licences(text: pa.ChunkedArray, legal: np.ndarray, head_bytes: int) -> list[str]:
    """The expression in each file's head, "" where there is none: SPDX expressions first, else what its words say."""
    own = [""] * len(legal)
    first = 0
    for view in text_buffers(text):
        documents = np.flatnonzero(legal[first : first + len(view)])
        if len(documents):
            words, starts = head_words(view, documents, head_bytes)
            for document, expression in zip(documents.tolist(), expressions(words, starts), strict=True):
                begin = view.offsets[document]
                head = view.data[begin : min(view.offsets[document + 1], begin + head_bytes)].tobytes()
                own[first + document] = stated_expression(head) or parsed(expression)
        first += len(view)
    return own


def _reasons(
    repo: pa.ChunkedArray,
    spdx: pa.Array,
    source: pa.Array,
    cfg: LicenceConfig,
    matcher: re.Pattern[str] | None,
) -> pa.Array:
    out = np.zeros(len(spdx), bool)
    if matcher is not None:
        out = _by_value(repo.fill_null(""), lambda name: bool(matcher.fullmatch(name.lower()))).astype(bool)
    passes = np.ones(len(spdx), bool)
    if cfg.policy != "any":
        allowed = frozenset(cfg.allowed) if cfg.policy == "list" else PERMISSIVE
        passes = _by_value(spdx, lambda expression: satisfied(expression, allowed)).astype(bool)
        if cfg.policy == "permissive_or_none":
            passes |= _by_value(source, lambda name: name == "none").astype(bool)
    return encode_codes(np.where(out, 0, np.where(passes, -1, 1)), list(REASONS))


def _by_value(column: pa.Array | pa.ChunkedArray, function) -> np.ndarray:
    """`function` of each value of a string column, called once per different value: object[n]."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    values = np.empty(len(encoded.dictionary), object)
    values[:] = [function(value) for value in encoded.dictionary.to_pylist()]
    return values[encoded.indices.to_numpy(zero_copy_only=False)]


@lru_cache(maxsize=1 << 14)
def _conflict(header: str, metadata: str) -> bool:
    """Different licences, neither a part of the other: "MIT" in a file of a repository under "MIT OR ..." is none."""
    ours, theirs = licences(header), licences(metadata)
    return bool(ours and theirs) and not (ours <= theirs or theirs <= ours)


@lru_cache(maxsize=8)
def _opt_out_matcher(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """What the lists mean as one expression over a lower-case `repo`, None when they are empty."""
    if not names:
        return None
    patterns = [fnmatch.translate(name).removesuffix(r"\Z") for name in names]
    return re.compile(rf"(?:{'|'.join(patterns)})(?:@[^@]*)?")
