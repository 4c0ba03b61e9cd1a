"""Which language a file is in: decided by its name, and by its content only where the name is ambiguous.

The map from names to languages is Pygments', which is kept up to date; this module picks the languages that
occur in our corpora, gives them the names that GitHub and the paper use, and settles the names that several
languages claim. A name that says nothing (no suffix, ".txt") is not a known language.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

# Section 2.1 of the paper: the languages of the pre-training data.
PAPER_LANGUAGES = (
    "Python",
    "Java",
    "C++",
    "C",
    "JavaScript",
    "PHP",
    "C#",
    "Go",
    "TypeScript",
    "SQL",
    "Ruby",
    "Rust",
    "Jupyter Notebook",
    "Scala",
    "Kotlin",
    "Shell",
    "Dart",
    "Swift",
)

# Ours -> the Pygments lexers that mean it, where the names differ.
_LEXERS = {
    "Assembly": ("GAS", "NASM"),
    "Dockerfile": ("Docker",),
    "Emacs Lisp": ("EmacsLisp",),
    "Fortran": ("Fortran", "FortranFixed"),
    "HCL": ("Terraform",),
    "JavaScript": ("JavaScript", "JSX"),
    "Jupyter Notebook": (),
    "Less": ("LessCss",),
    "MATLAB": ("Matlab",),
    "Makefile": ("Makefile", "Base Makefile"),
    "Nim": ("Nimrod",),
    "Objective-C": ("Objective-C", "Objective-C++"),
    "Pascal": ("Delphi",),
    "Python": ("Python", "Python 2.x"),
    "R": ("S",),
    "SCSS": ("SCSS", "Sass"),
    "Shell": ("Bash", "Fish", "Tcsh"),
    "SystemVerilog": ("systemverilog",),
    "TypeScript": ("TypeScript", "TSX"),
    "VHDL": ("vhdl",),
    "Verilog": ("verilog",),
    "Vim Script": ("VimL",),
    "XML": ("XML", "XSLT"),
}  # fmt: skip

_OTHER_LANGUAGES = (
    "Ada",
    "Assembly",
    "Batchfile",
    "CMake",
    "CSS",
    "CUDA",
    "Clojure",
    "CoffeeScript",
    "Common Lisp",
    "Cython",
    "D",
    "Dockerfile",
    "Elixir",
    "Elm",
    "Emacs Lisp",
    "Erlang",
    "F#",
    "Fortran",
    "GLSL",
    "GraphQL",
    "Groovy",
    "HCL",
    "HTML",
    "Haskell",
    "JSON",
    "Julia",
    "LLVM",
    "Less",
    "Lua",
    "MATLAB",
    "Makefile",
    "Markdown",
    "Nim",
    "OCaml",
    "Objective-C",
    "Pascal",
    "Perl",
    "PowerShell",
    "Prolog",
    "Protocol Buffer",
    "R",
    "SCSS",
    "Scheme",
    "Solidity",
    "SystemVerilog",
    "TOML",
    "Tcl",
    "TeX",
    "Thrift",
    "VHDL",
    "Verilog",
    "Vim Script",
    "Vue",
    "XML",
    "YAML",
    "Zig",
    "reStructuredText",
)  # fmt: skip

LANGUAGES = PAPER_LANGUAGES + _OTHER_LANGUAGES

# Where Pygments is silent or follows a dialect that our corpora do not have. "" takes a suffix away: .xpm is
# an image in C syntax, .aux and .toc are written by TeX, .jsonl and .svg are data and drawings.
_SUFFIXES = {
    ".ipynb": "Jupyter Notebook",
    ".r": "R",
    ".s": "Assembly",
    ".S": "Assembly",
    ".mts": "TypeScript",
    ".cts": "TypeScript",
    ".psql": "SQL",
    ".p": "",
    ".sc": "Scala",
    ".xpm": "",
    ".xbm": "",
    ".idc": "",
    ".aux": "",
    ".toc": "",
    ".jsonl": "",
    ".ndjson": "",
    ".svg": "",
    ".xslt": "XML",
    ".cls": "TeX",
    ".hh": "C++",
    ".load": "",
    ".module": "",
    ".xc": "",
    ".es": "",
}

# Line-start evidence, after GitHub Linguist's heuristics.yml: anchored, so that a word in a comment says
# nothing. <stdint.h> and its kind are not evidence: after `std\w+` comes ".h", not ">".
_CPP = (
    rb"^[ \t]*#[ \t]*include[ \t]*<(?:c?std\w+|string|vector|map|list|array|bitset|queue|stack|set"
    rb"|memory|utility|functional|algorithm|type_traits|tuple|optional|unordered_map|unordered_set|[io]?stream)>"
    rb"|^[ \t]*template[ \t]*<|^[ \t]*(?:class|(?:using[ \t]+|inline[ \t]+)?namespace)[ \t]+\w+"
    rb"|^[ \t]*(?:private|public|protected):|^[ \t]*using[ \t]+\w+[ \t]*="
    rb"|\bstd::\w|^[ \t]*(?:static[ \t]+)?constexpr\b"
)
_OBJECTIVE_C = (
    rb"^[ \t]*(?:@(?:interface|class|protocol|property|end|implementation)\b|#import[ \t]+.+\.h[\">])"
)


class _Choice(NamedTuple):
    evidence: tuple[tuple[str, re.Pattern[bytes]], ...]  # the first that matches decides
    otherwise: str


def _choice(*evidence: tuple[str, bytes], otherwise: str) -> _Choice:
    return _Choice(tuple((lang, re.compile(pattern, re.MULTILINE)) for lang, pattern in evidence), otherwise)


_AMBIGUOUS = {
    ".h": _choice(("Objective-C", _OBJECTIVE_C), ("C++", _CPP), otherwise="C"),
    ".inc": _choice(
        ("PHP", rb"<\?php"), ("C++", _CPP), ("C", rb"^[ \t]*#[ \t]*(?:include|define|if)"), otherwise=""
    ),
    ".m": _choice(("Objective-C", _OBJECTIVE_C), ("MATLAB", rb"^[ \t]*(?:%|function\b)"), otherwise=""),
    ".pl": _choice(
        ("Perl", rb"^#!.*\bperl|^[ \t]*(?:use|package|my|sub)\b"), ("Prolog", rb"^\w*.*:-"), otherwise="Perl"
    ),
    # Qt keeps translations as XML under this suffix.
    ".ts": _choice(("", rb"\A\s*<(?:\?xml|!DOCTYPE TS|TS\b)"), otherwise="TypeScript"),
    # Rocq proofs have it too.
    ".v": _choice(("Verilog", rb"^[ \t]*(?:endmodule|`(?:define|include|timescale))\b"), otherwise=""),
}

HEAD_BYTES = 32 << 10
"""How much of a file's start is looked at when its name is ambiguous."""


def candidates(path: str) -> tuple[str, ...]:
    """The languages that a file of this name may be in, by its name alone; () when none is known."""
    names, suffixes = _names()
    file_name = path.rpartition("/")[2]
    if (lang := names.get(file_name)) is not None:
        return (lang,)
    suffix = file_name[file_name.rfind(".") :] if "." in file_name else ""
    found = suffixes.get(suffix)
    return found if found is not None else suffixes.get(suffix.lower(), ())


def detect(path: str, content: bytes = b"") -> str:
    """The language of a file, "" when unknown. The start of its `content` settles an ambiguous name."""
    found = candidates(path)
    if len(found) == 1:
        return found[0]
    if not found:
        return ""
    choice = _AMBIGUOUS[path[path.rfind(".") :].lower()]
    head = content[:HEAD_BYTES]
    return next((lang for lang, pattern in choice.evidence if pattern.search(head)), choice.otherwise)


def canonical(name: str) -> str:
    """Our name for what a source calls a language ("cpp", "c-sharp", "Bash"), "" when it is none of ours."""
    return _aliases().get(_plain(name), "")


def training_languages(configured: tuple[str, ...]) -> tuple[str, ...]:
    """The languages that count as code for training: the configured ones, else the paper's 18."""
    return configured or PAPER_LANGUAGES


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


@cache
def _names() -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Whole file names -> language, and suffixes -> the languages that claim them."""
    names: dict[str, str] = {}
    suffixes: dict[str, tuple[str, ...]] = {}
    patterns = {lexer: globs for lexer, _, globs in _pygments()}
    # The paper's languages come first and keep what a rarer language claims too, unless `_AMBIGUOUS` has it.
    for lang in LANGUAGES:
        for lexer in _LEXERS.get(lang, (lang,)):
            for pattern in (name for glob in patterns[lexer] for name in _expand(glob)):
                if pattern.startswith("*."):
                    suffixes.setdefault(pattern[1:], (lang,))
                elif "*" not in pattern:
                    names.setdefault(pattern, lang)
    suffixes.update({suffix: (lang,) if lang else () for suffix, lang in _SUFFIXES.items()})
    for suffix, choice in _AMBIGUOUS.items():
        langs = (*(lang for lang, _ in choice.evidence), choice.otherwise)
        suffixes[suffix] = tuple(dict.fromkeys(langs))
    return names, suffixes


@cache
def _aliases() -> dict[str, str]:
    aliases = {lexer: short for lexer, short, _ in _pygments()}
    table: dict[str, str] = {}
    for lang in LANGUAGES:
        for lexer in _LEXERS.get(lang, (lang,)):
            for alias in (lexer, *aliases[lexer]):
                table.setdefault(_plain(alias), lang)
    # Folder names of public code datasets.
    table |= {"jupyter": "Jupyter Notebook", "c-sharp": "C#", "f-sharp": "F#", "objective-c++": "Objective-C"}
    return table | {_plain(lang): lang for lang in LANGUAGES}


@cache
def _pygments() -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """(name, aliases, file name globs) of each lexer that Pygments brings; plug-ins must not change a run."""
    from pygments.lexers import get_all_lexers

    return tuple(
        (name, tuple(short), tuple(globs)) for name, short, globs, _ in get_all_lexers(plugins=False)
    )


def _expand(glob: str) -> list[str]:
    """Spell out one bracketed class: "*.php[345]" is three names."""
    before, bracket, rest = glob.partition("[")
    if not bracket:
        return [glob]
    letters, _, after = rest.partition("]")
    return [before + letter + after for letter in letters]
