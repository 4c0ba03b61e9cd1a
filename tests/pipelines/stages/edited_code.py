"""A benchmark's solution as somebody's file may hold it: renamed, re-formatted, commented, annotated, reordered.

Edits of Python keep its meaning and are made on its syntax tree or its tokens, by other code than the one that is
tested. `EDITS` is name -> edit; an edit that a text does not allow (it does not parse) gives the text back.
"""

from __future__ import annotations

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Callable

NEW_NAMES = "alpha beta gamma delta left right value item total first second node entry found width".split()  # noqa: SIM905


def without_docstrings(code: str) -> str:
    """The lines of its docstrings left out, so that only the code can betray it. SyntaxError if it is no Python."""
    lines = code.splitlines(keepends=True)
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str) and node.end_lineno:
            for number in range(node.lineno - 1, node.end_lineno):
                lines[number] = ""
    return "".join(lines)


def rename(code: str) -> str:
    """Every name that the code binds gets another one; imports, attributes and built-ins keep theirs."""
    tree = ast.parse(code)
    bound: dict[str, str] = {}
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        if name and name not in imported and not name.startswith("__"):
            number = len(bound)
            bound.setdefault(name, NEW_NAMES[number % len(NEW_NAMES)] + str(number // len(NEW_NAMES)))
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    starts = [0]
    for line in code.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    parts, at = [], 0
    for number, token in enumerate(tokens):
        if token.type != tokenize.NAME or token.string not in bound:
            continue
        if number and tokens[number - 1].string == ".":
            continue
        begin = starts[token.start[0] - 1] + token.start[1]
        parts += [code[at:begin], bound[token.string]]
        at = begin + len(token.string)
    return "".join(parts) + code[at:]


def add_comments(code: str) -> str:
    """A comment on its own line before every third statement, and one behind every second."""
    heads = {
        node.lineno: node.col_offset
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Expr)
    }
    ends = {
        node.end_lineno
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Assign | ast.Return | ast.AugAssign)
    }
    lines = []
    for number, line in enumerate(code.splitlines(), 1):
        if number in heads and number % 3 == 0:
            lines.append(" " * heads[number] + "# then comes step " + str(number))
        lines.append(line + "  # as said" if number in ends and number % 2 else line)
    return "\n".join(lines) + "\n"


def remove_comments(code: str) -> str:
    """Neither comments nor docstrings."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and len(node.body) > 1:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.unparse(tree)


def add_docstrings(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body.insert(
                0, ast.Expr(ast.Constant("What this does.\n\n    In other words, at length.\n    "))
            )
    return ast.unparse(ast.fix_missing_locations(tree))


def add_hints(code: str) -> str:
    """Type hints on every parameter, result and plain assignment."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = ast.parse("dict[str, list[int]] | None", mode="eval").body
            for number, argument in enumerate(node.args.args):
                kinds = ("int", "list[float]", "Optional[Dict[str, int]]")
                argument.annotation = ast.parse(kinds[number % 3], mode="eval").body

    class Assignments(ast.NodeTransformer):
        def visit_Assign(self, node: ast.Assign) -> ast.AST:
            if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                hint = ast.parse("list[int]", mode="eval").body
                return ast.AnnAssign(node.targets[0], hint, node.value, simple=1)
            return node

    return ast.unparse(ast.fix_missing_locations(Assignments().visit(tree)))


def remove_hints(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                argument.annotation = None

    class Assignments(ast.NodeTransformer):
        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
            return node if node.value is None else ast.Assign([node.target], node.value)

    return ast.unparse(ast.fix_missing_locations(Assignments().visit(tree)))


def change_quotes(code: str) -> str:
    """Single quotes become double ones and the other way round."""
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    lines = code.splitlines(keepends=True)
    for token in reversed(tokens):
        if token.type != tokenize.STRING or token.start[0] != token.end[0]:
            continue
        text = token.string
        other = {"'": '"', '"': "'"}[text[-1]]
        if other in text or "\\" in text or text[-3:] in ("'''", '"""'):
            continue
        row, (begin, end) = token.start[0] - 1, (token.start[1], token.end[1])
        lines[row] = lines[row][:begin] + text.replace(text[-1], other) + lines[row][end:]
    return "".join(lines)


def reindent(code: str) -> str:
    """Tabs for indentation, Windows line ends, blank lines, spaces around brackets."""
    code = re.sub(r"(?m)^( +)", lambda found: "\t" * max(1, len(found[1]) // 4), code)
    return re.sub(r"([(\[])(?=\w)", r"\1 ", code).replace("\n", "\r\n\r\n")


def reorder(code: str) -> str:
    """Functions in reverse order, with another one between; the last one's body stays as it is."""
    tree = ast.parse(code)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    others = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    if len(functions) < 2:
        return code
    extra = ast.parse(
        "def unrelated(path):\n    with open(path) as lines:\n        return [line for line in lines]\n"
    )
    tree.body = [*others, *functions[::-1][:1], *extra.body, *functions[::-1][1:]]
    return ast.unparse(tree)


def into_class(code: str) -> str:
    """The functions as methods, each with a `self`, under a class."""
    body = re.sub(r"(?m)^(\s*def \w+)\((?!\))", r"\1(self, ", code)
    return "class Solution:\n" + re.sub("(?m)^(?=.)", "    ", body)


def combined(code: str) -> str:
    """Renamed, annotated, with other quotes, comments, docstrings and white space."""
    for edit in (rename, add_hints, add_docstrings, change_quotes, add_comments, reindent):
        code = edit(code)
    return code


EDITS: dict[str, Callable[[str], str]] = {
    "none": lambda code: code,
    "renamed": rename,
    "comments added": add_comments,
    "comments and docstrings removed": remove_comments,
    "docstrings added": add_docstrings,
    "type hints added": add_hints,
    "type hints removed": remove_hints,
    "other quotes": change_quotes,
    "other white space": reindent,
    "functions reordered": reorder,
    "into a class": into_class,
    "combined": combined,
}

_WORD = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_]\w*",
    re.DOTALL,
)
_CPP_TYPE = r"\b(?:int|float|double|string|bool|char|long|auto|(?:vector|map|set|list)<[^;(){}]*?>)"
_JAVA_TYPE = r"\b(?:int|float|double|String|boolean|char|long|Integer|Object|\w+<[^;(){}]*?>)(?:\[\])*"
_DECLARED = {
    "C++": _CPP_TYPE + r"\s*[&*]?\s+(\w+)\s*(?=[=;,):({\[])",
    "Java": _JAVA_TYPE + r"\s+(\w+)\s*(?=[=;,):])",
    "JavaScript": r"\b(?:let|const|var|function)\s+(\w+)",
    "Go": r"(?:\bvar\s+(\w+)|\b(\w+)\s*:=|,\s*(\w+)\s*:=)",
    "Rust": r"\b(?:let\s+(?:mut\s+)?|for\s+)(\w+)",
}


def rename_braces(code: str, language: str) -> str:
    """Every name that one of the usual declarations of the language declares gets another one."""
    found = re.findall(_DECLARED[language], code)
    names = {name for match in found for name in ([match] if isinstance(match, str) else match)}
    names -= {"", "_", *dir(builtins)}
    fresh = {
        name: NEW_NAMES[i % len(NEW_NAMES)] + str(i // len(NEW_NAMES)) for i, name in enumerate(sorted(names))
    }

    def replace(found: re.Match[str]) -> str:
        before = code[: found.start()].rstrip()[-1:]
        return found[0] if before == "." else fresh.get(found[0], found[0])

    return _WORD.sub(replace, code)


def comment_braces(code: str, language: str) -> str:
    """A line comment behind every third line and a block comment between others."""
    lines = []
    for number, line in enumerate(code.splitlines()):
        lines.append(line + "  // step " + str(number) if number % 3 == 0 and line.strip() else line)
        if number % 4 == 1:
            lines.append("/* and now\n * something else */")
    return "\n".join(lines) + "\n"


def reformat_braces(code: str, language: str) -> str:
    return re.sub(r"(?m)^[ \t]+", "\t", re.sub(r"\s*\{[ \t]*\n", "\n{\n", code)).replace("\n", "\r\n")


BRACE_EDITS: dict[str, Callable[[str, str], str]] = {
    "none": lambda code, language: code,
    "renamed": rename_braces,
    "comments added": comment_braces,
    "other white space": reformat_braces,
    "combined": lambda code, language: reformat_braces(
        comment_braces(rename_braces(code, language), language), language
    ),
}


def edited(code: str, edit: Callable[[str], str]) -> str:
    try:
        return edit(code)
    except (SyntaxError, tokenize.TokenError, ValueError):
        return code
