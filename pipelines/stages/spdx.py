"""SPDX expressions: what a source's own words mean, which licences ask for little, and what a policy allows."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.kernels.headers import head_words
from pipelines.kernels.text import text_buffers
from pipelines.stages.licence_phrases import expressions


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PERMISSIVE = _words(
    """
    0BSD AFL-1.1 AFL-1.2 AFL-2.0 AFL-2.1 AFL-3.0 Apache-1.0 Apache-1.1 Apache-2.0 Artistic-2.0 Beerware
    BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent BSD-2-Clause-Views BSD-3-Clause
    BSD-3-Clause-Attribution BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-3-Clause-Modification
    BSD-3-Clause-No-Nuclear-License-2014 BSD-3-Clause-Open-MPI BSD-4-Clause BSD-4-Clause-UC
    BSD-Source-Code BSL-1.0 bzip2-1.0.6 CC-BY-3.0 CC-BY-4.0 CC-PDDC CC0-1.0 CNRI-Python curl ECL-2.0
    EFL-2.0 FSFAP FSFUL FSFULLR FTL HPND HPND-sell-variant ICU IJG Info-ZIP Intel ISC JasPer-2.0 Libpng
    libpng-2.0 libtiff Linux-OpenIB MIT MIT-0 MIT-advertising MIT-CMU MIT-feh MIT-Modern-Variant MITNFA
    mpich2 MS-PL MTLL MulanPSL-1.0 MulanPSL-2.0 NAIST-2003 NCSA NIST-PD NTP ODC-By-1.0 OLDAP-2.8
    OpenSSL PHP-3.0 PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Python-2.0.1 Ruby SAX-PD SGI-B-2.0 SMLNJ
    Spencer-94 SSH-OpenSSH TCL TCP-wrappers Unicode-3.0 Unicode-DFS-2015 Unicode-DFS-2016 Unlicense
    UPL-1.0 W3C W3C-19980720 W3C-20150513 WTFPL X11 X11-distribute-modifications-variant Xnet XFree86-1.1
    Zend-2.0 Zlib zlib-acknowledgement ZPL-2.0 ZPL-2.1 blessing LicenseRef-scancode-public-domain
    """
)
"""SPDX ids of the licences that ask for a notice at most, by the Blue Oak Council's grades from Model to Lead, as
The Stack v2 chose them (arXiv 2402.19173, section 2.1), and dedications to the public. Weak copyleft (LGPL, MPL,
EPL, CDDL) is not among them, nor Artistic-1.0 and the JSON licence, whose terms courts or lawyers found unclear."""

UNKNOWN_WORDS = frozenset(
    {"", "unknown", "none", "noassertion", "n/a", "null", "no license", "no_license", "unlicensed?"}
)
"""What sources write where there is no statement."""

_CONNECTIVE = re.compile(r"\b(?:or|and|with)\b", re.IGNORECASE)
_SPDX_LINE = re.compile(rb"SPDX-License-Identifier:[ \t]*([^\r\n]{1,300})", re.IGNORECASE)
# license = "MIT OR Apache-2.0" of Cargo.toml, package.json, pyproject.toml, setup.py
_KEY = re.compile(rb"""licen[sc]e["']?[ \t]*[:=][ \t]*["']([^"'\r\n]{1,200})["']""")
_IN_SPDX = re.compile(r"[A-Za-z0-9.+() \t:-]*")
_MAX_WORDS = 4096


@lru_cache(maxsize=1 << 14)
def normalise(words: str) -> str:
    """The SPDX expression of a licence in any words: an expression, a classifier, a name, several of them.

    "" when nothing is stated or nothing of it is understood. Several statements ("MIT, BSD-3-Clause": classifiers, or
    the licence files of a repository) must all hold, for which of them is for which file is not known.
    """
    words = words.strip()[:_MAX_WORDS]
    if words.lower() in UNKNOWN_WORDS:
        return ""
    if expression := _expression(words):
        return expression
    parts = [part for part in re.split(r"\s*[;,|\n]\s*", words) if part.strip()]
    if len(parts) > 1:
        known = [normalise(part) for part in parts if part != "OSI Approved"]
        return (
            parsed(" AND ".join(f"({one})" for one in known if one))
            if known and all(known)
            else _named(words)
        )
    return _named(words)


def stated_expression(head: bytes) -> str:
    """The SPDX expression that the start of a file states in so many words, "" where it states none.

    `SPDX-License-Identifier:` lines (REUSE: all of them hold), else the `license` key of a manifest.
    """
    stated = []
    for match in _SPDX_LINE.finditer(head) if b"spdx-license" in head.lower() else ():
        # The value ends where the comment, the string or the markup around it does.
        line = re.split(rb"\*/|-->|[\"'<>`#,;]|\*\)|\\n", match[1])[0].decode("utf-8", "replace")
        value = _IN_SPDX.match(line)
        if value and (expression := parsed(value[0].strip().rstrip("."))):
            stated.append(expression)
    if stated:
        return parsed(" AND ".join(f"({one})" for one in stated))
    key = _KEY.search(head)
    if key is None or head[head.rfind(b"\n", 0, key.start()) + 1 : key.start()].strip(b" \t\"'"):
        return ""  # in the middle of a line it is about something else
    return _expression(key[1].decode("utf-8", "replace").strip())


def _expression(words: str) -> str:
    # "MIT/Apache-2.0" is how Cargo wrote OR.
    return parsed(words) or parsed(re.sub(r"\s*/\s*", " OR ", words))


@lru_cache(maxsize=1 << 14)
def parsed(expression: str) -> str:
    """An SPDX expression in its simplest form and canonical order, "" when it is none. `LicenseRef-` is kept."""
    if not expression or len(expression) > _MAX_WORDS:
        return ""
    tree = _tree(expression)
    return "" if tree is None else tree.simplify().render()


@lru_cache(maxsize=1 << 14)
def licences(expression: str) -> frozenset[str]:
    """The licences named in a canonical expression."""
    tree = _tree(expression) if expression else None
    return frozenset() if tree is None else frozenset(str(symbol) for symbol in tree.symbols)


@lru_cache(maxsize=1 << 14)
def satisfied(expression: str, allowed: frozenset[str]) -> bool:
    """Whether one may choose, at every OR, so that all licences are among `allowed`. False for "".

    An exception only grants more: `X WITH Y` is allowed where X is, or where it is listed itself.
    """
    tree = _tree(expression) if expression else None
    return tree is not None and _satisfied(tree, allowed)


def _satisfied(node: Any, allowed: frozenset[str]) -> bool:
    if node.isliteral:
        base = getattr(node, "license_symbol", node)
        return str(node) in allowed or str(base) in allowed
    chosen = any if type(node).__name__ == "OR" else all
    return chosen(_satisfied(part, allowed) for part in node.args)


def _tree(expression: str) -> Any:
    from license_expression import ExpressionError, ExpressionParseError

    try:
        tree = _licensing().parse(expression)
    except (ExpressionError, ExpressionParseError):
        return None
    unknown = (
        [str(symbol) for symbol in _licensing().unknown_license_symbols(tree)] if tree is not None else []
    )
    return None if any(not name.startswith("LicenseRef-") for name in unknown) else tree


@cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def _named(words: str) -> str:
    """By the phrases of headers: "License :: OSI Approved :: Apache Software License", "new BSD"."""
    # Which words are a name and which a choice is told by the phrases, that expect "license" near a bare name.
    view = next(text_buffers(pa.array([f"license {words.rpartition('::')[2].strip()}"], pa.large_string())))
    return parsed(expressions(*head_words(view, np.zeros(1, np.int64), _MAX_WORDS))[0])
