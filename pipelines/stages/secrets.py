"""The last look at a document's text: keys, passwords, e-mail and IP addresses, rejected or written over.

One fast pass finds candidates (`pipelines.kernels.secret_candidates`), and only those are judged, by what
detect-secrets knows of tokens and by what tells a secret from its look-alikes (`secret_tokens`, `secret_judges`). A
redaction is recorded as edits in the verdict; whoever reads the document later applies the same edits and sees the
same text. Names of people are not looked for: that takes a model (StarPII), not a rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import mmh3
import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.kernels.edits import EDITS, apply_edits
from pipelines.kernels.secret_candidates import Candidates, candidates
from pipelines.kernels.secret_shapes import (
    ASSIGNED_KEY,
    ASSIGNED_PASSWORD,
    BEARER,
    EMAIL,
    FIRST_TOKEN,
    IPV4,
    IPV6,
    PEM,
    URL_PASSWORD,
)
from pipelines.stages.secret_judges import (
    is_email,
    is_key,
    is_password,
    is_public_address,
    is_token,
    is_url_password,
)
from pipelines.stages.secret_tokens import token_span
from pipelines.stages.secret_words import (
    FIRST_IPV4,
    FIRST_IPV6,
    IPV4_REPLACEMENTS,
    IPV6_REPLACEMENTS,
    KIND_OF,
    KINDS,
    REPLACEMENTS,
)
from pipelines.stages.verdicts import REASON, encode, judge_each
from snowcoder.base import Config

SECRETS_VERSION = 1

TOO_MANY = "secret:too_many"

VERDICT = pa.schema(
    [
        ("row", pa.int32()),
        ("reason", REASON),  # "secret:<kind>" where that kind is rejected, TOO_MANY
        *((kind, pa.int32()) for kind in KINDS),  # how many were found, whatever is done about them
        ("edits", EDITS),  # where, and what is written over them; the evidence in a rejected document
    ]
)

Action = Literal["reject", "redact", "ignore"]

# Around a candidate this much of its line is looked at, and this much of a private key's body.
_LINE_BEFORE, _LINE_AFTER = 160, 160
_TOKEN_BYTES = 1200
_PEM_BYTES = 8 << 10
_PEM_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,24}$")
_PEM_BODY = re.compile(rb"""(?:[A-Za-z0-9+/=]|\\[nr\r\n]|[\s"'+,:#*.-])+""")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]")


class SecretsConfig(Config):
    """What is done about each kind: reject the document, redact the place, or ignore (but count) it."""

    private_key: Action = "redact"
    """PEM private keys; the armour stays, `<KEY>` takes the place of what is in it."""
    key: Action = "redact"
    """Tokens of known providers, and random values in names such as `api_key` and `secret`: `<KEY>`."""
    password: Action = "redact"
    """Literals in names such as `password`, and the password in a URL: `<PASSWORD>`."""
    email: Action = "redact"
    """E-mail addresses: `<EMAIL>`."""
    ip: Action = "redact"
    """Public IP addresses; one of five private ones takes the place, the same for the same address in a document."""
    bare_languages: tuple[str, ...] = (
        "",
        "YAML",
        "TOML",
        "Shell",
        "Dockerfile",
        "Makefile",
        "Batchfile",
        "Text",
        "HCL",
    )
    """Languages in which a value may stand without quotes; "" is a file of no known language (.env, .ini)."""
    max_candidates: int = Field(default=4096, ge=1)
    """A document with more candidates is a dump of data: rejected, and judged no further."""


@dataclass(frozen=True, slots=True)
class _Find:
    begin: int
    end: int
    weight: int  # place in KINDS
    edit: int  # place in REPLACEMENTS


def judge_secrets(docs: pa.Table, cfg: SecretsConfig) -> pa.Table:
    """Judge every row of a DOCUMENT table -> VERDICT table, in the same order. A null text has no secrets."""
    return judge_each(docs, lambda part: _judge(part, cfg), _failed)


def amend_secrets(docs: pa.Table, verdicts: pa.Table) -> pa.Table:
    """`docs` with the recorded edits of `verdicts`, the verdicts of exactly these rows in this order.

    ValueError when edits cannot be of these texts.
    """
    text = apply_edits(docs["text"], verdicts["edits"], REPLACEMENTS)
    return docs.set_column(docs.column_names.index("text"), "text", text)


def _judge(docs: pa.Table, cfg: SecretsConfig) -> pa.Table:
    n = docs.num_rows
    bare = docs["lang"].fill_null("").to_numpy(zero_copy_only=False)
    found: dict[int, list[_Find]] = {}
    overflow = np.zeros(n, bool)
    for part in candidates(docs["text"], np.isin(bare, cfg.bare_languages), cfg.max_candidates):
        overflow[part.first : part.first + len(part.view)] = part.overflow
        for document, finds in _finds(part):
            found[part.first + document] = finds
    counts = np.zeros((len(KINDS), n), np.int32)
    reasons: list[str | None] = [TOO_MANY if many else None for many in overflow]
    edits: list[list[tuple[int, int, int]] | None] = [None] * n
    identity = (
        docs.select(["repo", "path"]).take(pa.array(list(found), pa.int64())).to_pylist() if found else []
    )
    for (document, finds), names in zip(found.items(), identity, strict=True):
        for weight in range(len(KINDS)):
            # A name may have two keywords ("secret_key"), each of which finds its value.
            counts[weight, document] = len(merged([find for find in finds if find.weight == weight]))
        actions = {find.weight: getattr(cfg, KINDS[find.weight]) for find in finds}
        rejected = [kind for kind, action in sorted(actions.items()) if action == "reject"]
        if rejected:
            reasons[document] = f"secret:{KINDS[rejected[0]]}"
        shown = [find for find in finds if actions[find.weight] != "ignore"]
        text = docs["text"][document].as_buffer()
        seed = f"{names['repo']}\0{names['path']}\0".encode()
        edits[document] = [(find.begin, find.end, _edit(find, text, seed)) for find in merged(shown)]
    columns = {
        "row": docs["row"],
        "reason": encode(reasons),
        **{kind: pa.array(counts[i]) for i, kind in enumerate(KINDS)},
        "edits": pa.array(edits, EDITS),
    }
    return pa.table(columns, schema=VERDICT)


def _failed(docs: pa.Table, reason: str) -> pa.Table:
    n = docs.num_rows
    none = pa.array(np.zeros(n, np.int32))
    return pa.table(
        [docs["row"], encode([reason] * n), *[none] * len(KINDS), pa.nulls(n, EDITS)], schema=VERDICT
    )


def merged(finds: list[_Find]) -> list[_Find]:
    """Sorted, and overlapping ones made one: the union, under the name of the weightiest kind."""
    result: list[_Find] = []
    for find in sorted(finds, key=lambda one: (one.begin, one.weight, one.end)):
        if result and find.begin < result[-1].end:
            last = result[-1]
            chosen = min(last, find, key=lambda one: one.weight)
            result[-1] = _Find(last.begin, max(last.end, find.end), chosen.weight, chosen.edit)
        else:
            result.append(find)
    return result


def _edit(find: _Find, text: pa.Buffer, seed: bytes) -> int:
    """Which replacement: for an address one of five, by a hash of it and of the document that it is in."""
    if KIND_OF[find.edit] != "ip":
        return find.edit
    address = text.slice(find.begin, find.end - find.begin).to_pybytes().lower()
    choices = IPV4_REPLACEMENTS if find.edit == FIRST_IPV4 else IPV6_REPLACEMENTS
    return find.edit + mmh3.hash(seed + address, signed=False) % len(choices)


def _finds(part: Candidates) -> list[tuple[int, list[_Find]]]:
    """(document in the chunk, its finds) for each document of a chunk that has some."""
    by_document: dict[int, list[_Find]] = {}
    rows = zip(
        part.document.tolist(), part.kind.tolist(), part.begin.tolist(), part.end.tolist(), strict=True
    )
    for document, kind, begin, end in rows:
        if part.overflow[document]:
            continue
        start, stop = int(part.view.offsets[document]), int(part.view.offsets[document + 1])
        find = _judged(kind, part.view.data[start:stop], begin, end)
        if find is not None:
            by_document.setdefault(document, []).append(find)
    return list(by_document.items())


def _judged(kind: int, data: np.ndarray, begin: int, end: int) -> _Find | None:
    """What a candidate is, None when it only looks like a secret. Positions are bytes of the document `data`."""
    if kind == PEM:
        return _private_key(data, begin, end)
    before = _line_before(data, begin)
    if kind >= FIRST_TOKEN:
        return _token(kind - FIRST_TOKEN, data, begin, before)
    value = data[begin:end].tobytes().decode("utf-8", "replace")
    after = _line_after(data, end, _LINE_AFTER).decode("utf-8", "replace")
    words = before.decode("utf-8", "replace")
    if kind == EMAIL:
        return _Find(begin, end, 3, 3) if is_email(value, words, after) else None
    if kind in (IPV4, IPV6):
        edit = FIRST_IPV4 if kind == IPV4 else FIRST_IPV6
        return _Find(begin, end, 4, edit) if is_public_address(value, words, after) else None
    if kind == URL_PASSWORD:
        return _Find(begin, end, 2, 2) if is_url_password(value, words) else None
    if kind == ASSIGNED_PASSWORD:
        return _Find(begin, end, 2, 2) if is_password(value, words, after) else None
    assert kind in (ASSIGNED_KEY, BEARER), kind
    return _Find(begin, end, 1, 1) if is_key(value, words, after, bearer=kind == BEARER) else None


def _token(token: int, data: np.ndarray, begin: int, before: bytes) -> _Find | None:
    # Bytes as characters, one for one, so that places in the line are places in the document.
    line = (before + _line_after(data, begin, _TOKEN_BYTES)).decode("latin-1")
    span = token_span(token, line, len(before))
    if span is None or not is_token(line[span[0] : span[1]]):
        return None
    first = begin - len(before)
    return _Find(first + span[0], first + span[1], 1, 1)


def _private_key(data: np.ndarray, begin: int, end: int) -> _Find | None:
    """From behind the armour's first line to the last one, if there is a key's worth of base64 between."""
    if not _PEM_BEGIN.search(_line_before(data, begin)):
        return None
    body = data[end : end + _PEM_BYTES].tobytes()
    armour = re.match(rb"(?: BLOCK)?-----", body)
    if armour is None:
        return None
    run = _PEM_BODY.match(body, armour.end())
    last = body.find(b"-----END", armour.end())
    if last < 0 or (run and run.end() < last):
        last = run.end() if run else 0
        while last > armour.end() and not _BASE64.match(body, last - 1):
            last -= 1
    if len(_BASE64.findall(body, armour.end(), last)) < 64:
        return None
    return _Find(end + armour.end(), end + last, 0, 0)


def _line_before(data: np.ndarray, at: int) -> bytes:
    piece = data[max(0, at - _LINE_BEFORE) : at].tobytes()
    return piece[piece.rfind(b"\n") + 1 :]


def _line_after(data: np.ndarray, at: int, most: int) -> bytes:
    return data[at : at + most].tobytes().partition(b"\n")[0]
