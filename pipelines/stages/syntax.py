"""Does the file parse? Tree-sitter's error recovery says how much of it does not.

A parse error is not yet a bad file: grammars lag behind their languages, and macros, templates and dialects are
outside of any grammar. So what counts is the share of the text that no rule of the grammar could use, and its limit
differs by language (docs/language.md has the measurement behind the defaults). Seed-Coder (arXiv 2506.03524) and
OpenCoder (arXiv 2411.04905) drop what does not parse.

What is beyond the caps on size, lines, depth and nodes passes, and the outcome says so. Most caps count bytes,
brackets or steps of the parser, so that a verdict is the same on any machine. But over text made for that,
tree-sitter takes time and memory with the square of the length: 100,000 times "-" in Dart are 20 s, 20,000 bytes of
"a<a<" in Java 1.4 GB. So there are two last caps, in seconds and in bytes of memory, far beyond what any real file
took; whether one was hit is a fact, kept in the verdict.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from pipelines.kernels.nesting import extent
from pipelines.kernels.text import text_buffers
from pipelines.schema import stable_hash
from pipelines.sources.notebooks import NOTEBOOK
from pipelines.stages.grammars import GRAMMARS, Grammar, grammars, parser
from pipelines.stages.language import LanguageConfig, told_by_content
from pipelines.stages.verdicts import REASON, encode, judge_each
from snowcoder.base import Config

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

SYNTAX_VERSION = 1

SYNTAX = "syntax"

OUTCOMES = (
    "parsed",
    "no_grammar",  # no grammar for the language, or it is not asked for
    "too_large",  # more bytes than `max_bytes`
    "too_deep",  # brackets nest deeper than `max_depth`
    "long_line",  # a line longer than `max_line`
    "too_many_steps",  # the parser lost itself in recovery
    "too_slow",  # more than `max_seconds`
    "too_much_memory",  # more than `max_memory`
    "too_many_nodes",  # a tree of more nodes than `max_nodes`; its errors are not looked at
)

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),
        ("lang", REASON),  # whose grammar and limit count: of a notebook, the language of its cells
        ("error_share", pa.float32()),  # bytes of tokens that the grammar could not place; null unless parsed
        ("errors", pa.int32()),  # places where recovery began, or a token was made up; null unless parsed
        ("nodes", pa.int32()),  # of the whole tree; null when there is none
        ("outcome", REASON),  # one of OUTCOMES; null without a text
    ]
)

_READ_BYTES = 1 << 16
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STEPS_PER_CALL = 100  # tree-sitter asks its progress callback once in so many operations
_LOST = ("too_many_steps", "too_slow", "too_much_memory")
_CALLS_PER_LOOK = 8  # at the process's memory
_FREE_STEPS = 100_000  # a short text may need many a byte


class SyntaxConfig(Config):
    """The syntax check. `max_error_share` and `languages_max_error_share` only compare a recorded number."""

    languages: tuple[str, ...] | None = None
    """Languages to check; None: all that have a grammar. Others pass as "no_grammar"."""
    max_error_share: float = Field(default=0.05, ge=0, le=1)
    """Bytes in tokens that no rule of the grammar could use, over all bytes of the text. Measured on packaged
    code (docs/language.md)."""
    languages_max_error_share: dict[str, float] = Field(
        default_factory=lambda: {"C": 0.2, "C++": 0.2, "SQL": 0.3, "TypeScript": 0.2}
    )
    """Language -> its own limit: macros make correct C unparsable, SQL has many dialects, and type-level TypeScript
    outruns its grammar. A recipe's table replaces the whole default."""
    max_bytes: int = Field(default=1 << 20, gt=0)
    """A larger text is not parsed. At about 10 MB/s, a mebibyte is a tenth of a second."""
    max_depth: int = Field(default=500, gt=0)
    """Most brackets open at once, strings and comments included: recovery and some scanners take time with the
    square of the depth."""
    max_line: int = Field(default=5000, gt=0)
    """Bytes of the longest line: the scanners of Dart and Scala take time with its square. Longer ones are data."""
    max_steps_per_byte: float = Field(default=5, gt=0)
    """Operations of the parser per byte; code needs 0.5, the worst of 5,400 real files 2.7."""
    max_memory: int = Field(default=512 << 20, gt=0)
    """Bytes by which the process may grow over one parse, where /proc tells."""
    max_seconds: float = Field(default=3, gt=0)
    """Processor seconds of one parse; the slowest of 5,400 real files below 400 kB took 0.06."""
    reject_lost: bool = True
    """Reject a document that exceeds the parser's steps, memory or seconds: none of 7,800 real files did."""
    max_nodes: int = Field(default=1_000_000, gt=0)
    """Nodes in the tree; code has one per 3 to 7 bytes."""

    @field_validator("languages")
    @classmethod
    def _have_grammars(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in languages or ():
            if name not in GRAMMARS:
                raise ValueError(f"languages: no grammar for {name!r}; there are {', '.join(GRAMMARS)}")
        return languages

    def limit(self, lang: str) -> float:
        """The largest share of errors that passes in this language."""
        return self.languages_max_error_share.get(lang, self.max_error_share)

    @property
    def text_key(self) -> str:
        """Hash of the fields that need the text. While it stays equal, `rejudge` does and nothing is parsed."""
        return stable_hash(
            self.model_dump(exclude={"max_error_share", "languages_max_error_share", "reject_lost"})
        )


class _Parse(NamedTuple):
    outcome: str | None
    share: float | None = None
    errors: int | None = None
    nodes: int | None = None


def judge_syntax(docs: pa.Table, cfg: SyntaxConfig) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order. A null text passes.

    UserError when the grammar of a language that occurs is not installed.
    """
    return judge_each(docs, lambda part: _judge(part, cfg), _failed)


def rejudge(verdicts: pa.Table, cfg: SyntaxConfig) -> pa.Table:
    """The verdicts under other limits of the share of errors, from the ledger alone."""
    return _verdicts({name: verdicts[name] for name in verdicts.column_names}, cfg)


def _judge(docs: pa.Table, cfg: SyntaxConfig) -> pa.Table:
    langs = _languages(docs)
    paths = docs["path"].to_pylist()
    wanted = GRAMMARS.keys() & (GRAMMARS if cfg.languages is None else cfg.languages)
    sizes = pc.fill_null(pc.binary_length(docs["text"]), 0).to_numpy()
    reach = extent(docs["text"])
    parses: list[_Parse] = []
    for view in text_buffers(docs["text"]):
        data = view.data.data
        for index, valid in enumerate(view.valid):
            row = len(parses)
            if not valid:
                parse = _Parse(None)
            elif langs[row] not in wanted:
                parse = _Parse("no_grammar")
            elif sizes[row] > cfg.max_bytes:
                parse = _Parse("too_large")
            elif reach.longest_line[row] > cfg.max_line:
                parse = _Parse("long_line")
            elif reach.depth[row] > cfg.max_depth:
                parse = _Parse("too_deep")
            else:
                text = data[view.offsets[index] : view.offsets[index + 1]]
                parse = _best_parse(text, langs[row], paths[row] or "", cfg)
            parses.append(parse)
    columns = {
        "row": docs["row"],
        "lang": encode(list(langs)),
        "error_share": pa.array([parse.share for parse in parses], pa.float32()),
        "errors": pa.array([parse.errors for parse in parses], pa.int32()),
        "nodes": pa.array([parse.nodes for parse in parses], pa.int32()),
        "outcome": encode([parse.outcome for parse in parses]),
    }
    return _verdicts(columns, cfg)


def _verdicts(columns: dict[str, pa.Array | pa.ChunkedArray], cfg: SyntaxConfig) -> pa.Table:
    """The verdict table from the measurements: the one place that compares them with limits."""
    limits = np.array([cfg.limit(lang) for lang in columns["lang"].to_pylist()], np.float32)
    share = columns["error_share"].to_numpy(zero_copy_only=False)
    beyond = share > limits  # not for a share that is missing
    if cfg.reject_lost:
        beyond |= np.array([outcome in _LOST for outcome in columns["outcome"].to_pylist()], bool)
    reason = encode([SYNTAX if hit else None for hit in beyond])
    return pa.table({**columns, "reason": reason}, schema=VERDICT)


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    columns = {name: pa.nulls(docs.num_rows, VERDICT.field(name).type) for name in VERDICT.names[2:]}
    langs = encode(docs["lang"].fill_null("").to_pylist())
    return pa.table(
        {**columns, "row": docs["row"], "reason": encode([reason] * docs.num_rows), "lang": langs},
        schema=VERDICT,
    )


def _languages(docs: pa.Table) -> list[str]:
    """Whose grammar counts: the document's language; of a script that was a notebook, what its cells look like."""
    langs = docs["lang"].fill_null("").to_pylist()
    scripts = pc.and_(pc.equal(docs["lang"], NOTEBOOK), pc.invert(pc.starts_with(docs["text"], "{")))
    rows = np.flatnonzero(pc.fill_null(scripts, False))
    for row, lang in zip(
        rows, told_by_content(docs["text"].take(pa.array(rows)), LanguageConfig()), strict=True
    ):
        langs[row] = lang or "Python"
    return langs


def _best_parse(text: memoryview, lang: str, path: str, cfg: SyntaxConfig) -> _Parse:
    """The parse of the language's grammar, or of another that it may be meant for and that fits better."""
    first, *others = grammars(lang, path)
    best = _parse(text, first, cfg)
    for grammar in others:
        if best.share is not None and best.share <= cfg.limit(lang):
            break
        other = _parse(text, grammar, cfg)
        if other.share is not None and (best.share is None or other.share < best.share):
            best = other
    return best


def _parse(text: memoryview, grammar: Grammar, cfg: SyntaxConfig) -> _Parse:
    tree = _tree(text, grammar, cfg)
    if isinstance(tree, str):
        return _Parse(tree)
    root = tree.root_node
    nodes = root.descendant_count
    if nodes > cfg.max_nodes:
        return _Parse("too_many_nodes", nodes=nodes)
    if not root.has_error:
        return _Parse("parsed", 0.0, 0, nodes)
    errors, lost = _errors(root)
    return _Parse("parsed", lost / max(len(text), 1), errors, nodes)


def _tree(text: memoryview, grammar: Grammar, cfg: SyntaxConfig) -> Tree | str:
    """The tree, or the outcome of a parser that was stopped, which bounds its memory as well."""
    steps = int(cfg.max_steps_per_byte * len(text) + _FREE_STEPS) // _STEPS_PER_CALL
    end = time.thread_time() + cfg.max_seconds
    room = _resident() + cfg.max_memory
    stopped = ""

    def read(offset: int, _: object) -> memoryview:
        return text[offset : offset + _READ_BYTES]

    def stop(*_: object) -> bool:
        nonlocal steps, stopped
        steps -= 1
        if steps < 0:
            stopped = "too_many_steps"
        elif time.thread_time() > end:
            stopped = "too_slow"
        elif steps % _CALLS_PER_LOOK == 0 and _resident() > room:
            stopped = "too_much_memory"
        return stopped != ""

    engine = parser(grammar)
    try:
        return engine.parse(read, progress_callback=stop)
    except ValueError:  # "Parsing failed", which is all it says of a callback that stopped it
        engine.reset()  # or the next parse would go on with this one
        if not stopped:
            raise
        return stopped


def _resident() -> int:
    """Bytes of memory that the process holds; 0 where that is not told."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as statm:
            return int(statm.read(256).split()[1]) * _PAGE
    except OSError:
        return 0


def _errors(root: Node) -> tuple[int, int]:
    """(errors, bytes of tokens directly under one). Whole constructs that recovery found inside an error are not lost.

    Only nodes that hold an error are entered; the cursor keeps the way back, so depth costs no recursion.
    """
    cursor = root.walk()
    errors = lost = 0
    under = [False]  # for each node on the way here: is its parent an error?
    while True:
        node = cursor.node
        assert node is not None
        leaf = node.child_count == 0
        errors += node.is_error or node.is_missing
        if leaf and (node.is_error or under[-1]):
            lost += node.end_byte - node.start_byte
        if node.has_error and not leaf and cursor.goto_first_child():
            under.append(node.is_error)
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return errors, lost
            under.pop()
