"""The tree-sitter grammars that the syntax stage parses with: which wheel brings which language.

Each grammar is a wheel of its own with the compiled parser inside, so nothing is fetched at run time, and one can be
pinned without the others.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from snowcoder.base import UserError

if TYPE_CHECKING:
    from tree_sitter import Parser


class Grammar(NamedTuple):
    module: str
    function: str = "language"

    @property
    def package(self) -> str:
        return self.module.replace("_", "-")


_TSX = Grammar("tree_sitter_typescript", "language_tsx")
_CPP = Grammar("tree_sitter_cpp")

GRAMMARS: dict[str, tuple[Grammar, ...]] = {
    "C": (Grammar("tree_sitter_c"), _CPP),  # a header may be of either
    "C#": (Grammar("tree_sitter_c_sharp"),),
    "C++": (_CPP,),
    "Dart": (Grammar("tree_sitter_dart_orchard"),),
    "Go": (Grammar("tree_sitter_go"),),
    "Java": (Grammar("tree_sitter_java"),),
    "JavaScript": (Grammar("tree_sitter_javascript"), _TSX),  # Flow's annotations look like TypeScript's
    "Kotlin": (Grammar("tree_sitter_kotlin"),),
    "PHP": (Grammar("tree_sitter_php", "language_php"),),
    "Python": (Grammar("tree_sitter_python"),),  # takes Python 2's print and exec statements too
    "Ruby": (Grammar("tree_sitter_ruby"),),
    "Rust": (Grammar("tree_sitter_rust"),),
    "SQL": (Grammar("tree_sitter_sql"),),
    "Scala": (Grammar("tree_sitter_scala"),),
    "Shell": (Grammar("tree_sitter_bash"),),
    "Swift": (Grammar("tree_sitter_swift"),),
    "TypeScript": (Grammar("tree_sitter_typescript", "language_typescript"), _TSX),
}
"""Language -> its grammar, then those that a text which the first refuses may be meant for."""


def grammars(lang: str, path: str) -> tuple[Grammar, ...]:
    """The grammars to try on a text in `lang`, which has some, in order."""
    found = GRAMMARS[lang]
    return tuple(sorted(found, key=lambda grammar: grammar != _TSX)) if path.endswith(".tsx") else found


@cache
def parser(grammar: Grammar) -> Parser:
    """One parser per grammar and process. UserError when its wheel is not installed."""
    from tree_sitter import Language, Parser

    try:
        module = import_module(grammar.module)
    except ModuleNotFoundError:
        raise UserError(
            f"syntax: the grammar package {grammar.package!r} is not installed: install it, or leave its language "
            "out of curation.syntax.languages"
        ) from None
    return Parser(Language(getattr(module, grammar.function)()))
