"""For every measurement, texts whose value is known and lies just below, at and just above a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor
from typing import NamedTuple


class Example(NamedTuple):
    text: str
    value: float


Family = Callable[[float, str], Iterator[Example]]

N = 1000  # what shares are shares of, where it can be chosen


def counts(limit: float) -> Iterator[int]:
    yield from (k for k in (floor(limit) - 1, floor(limit), floor(limit) + 1) if k >= 0)


def parts(limit: float, whole: float = N) -> Iterator[int]:
    """Parts of `whole` around the limit; the limit itself where it is such a part."""
    at = floor(limit * whole + 1e-9)
    yield from (k for k in (at - 1, at, at + 1) if 0 <= k <= whole)


def unique(count: int, length: int = 4) -> list[str]:
    """Different words of one length."""
    return [f"w{i:0{length - 1}d}" for i in range(count)]


def characters(limit: float, lang: str) -> Iterator[Example]:
    return (Example("a" * k, k) for k in counts(limit))


def lines(limit: float, lang: str) -> Iterator[Example]:
    return (Example("word\n" * k, k) for k in counts(limit))


def longest_line(limit: float, lang: str) -> Iterator[Example]:
    return (Example("short\n" + "é" * k + "\nshort", k) for k in counts(limit) if k > 5)


def mean_line(limit: float, lang: str) -> Iterator[Example]:
    for tenths in (-1, 0, 1):
        yield Example(("a" * floor(limit) + "\n") * 9 + "a" * (floor(limit) + tenths), limit + tenths / 10)


def fill(part: str, rest: str) -> Family:
    """A share of characters: so many of one, and the others of another kind."""

    def family(limit: float, lang: str) -> Iterator[Example]:
        return (Example(part * k + rest * (N - k), k / N) for k in parts(limit))

    return family


def encoded_run(limit: float, lang: str) -> Iterator[Example]:
    return (Example("- " * 2000 + "(" + "A" * k + ")", k) for k in counts(limit))


def visible(limit: float, lang: str) -> Iterator[Example]:
    return (Example("<p>" + "a" * k + "</p>", k) for k in counts(limit))


def visible_share(limit: float, lang: str) -> Iterator[Example]:
    return (Example("a" * k + "<" + "b" * (N - k - 2) + ">", k / N) for k in parts(limit))


def words(limit: float, lang: str) -> Iterator[Example]:
    return (Example("ab-" * k, k) for k in counts(limit))


def mean_word(limit: float, lang: str) -> Iterator[Example]:
    for tenths in (-1, 0, 1):
        yield Example(("a" * floor(limit) + " ") * 9 + "a" * (floor(limit) + tenths), limit + tenths / 10)


def hexadecimal(limit: float, lang: str) -> Iterator[Example]:
    return (Example("0xF." * (k // 4) + "." * (N - k // 4 * 4), k // 4 * 3 / N) for k in range(0, N + 1, 4))


def duplicate_lines(limit: float, lang: str) -> Iterator[Example]:
    for k in parts(limit):
        yield Example("again, again\n" * k + "".join(f"{word}\n" for word in unique(N - k)), k / N)


def duplicate_ngrams(n: int) -> Family:
    def family(limit: float, lang: str) -> Iterator[Example]:
        block = " ".join(unique(n))
        for k in parts(limit, N / n):
            yield Example(" ".join([block] * k + [f"x{word[1:]}" for word in unique(N - k * n)]), k * n / N)

    return family


def top_ngrams(n: int) -> Family:
    def family(limit: float, lang: str) -> Iterator[Example]:
        for k in parts(limit, N / n):
            phrase = " ".join(unique(n))
            others = [f"x{word[1:]}" for word in unique(N - k * n)]
            apart = [word for pair in zip([phrase] * k, others, strict=False) for word in pair] + others[k:]
            yield Example(" ".join(apart), k * n / N)

    return family


LOGIC = {"Python": "f(x)\n", "C": "f(x);\n", "Java": "f(x);\n", "Go": "f(x)\n", "JavaScript": "f(x);\n"}
COMMENT = {"Python": "#"}


def lines_of(pieces: dict[str, str], count: int = 1) -> Family:
    """A share of lines of code: so many pieces, of `count` lines each, and the others are calls."""

    def family(limit: float, lang: str) -> Iterator[Example]:
        if lang not in pieces:
            return
        for k in parts(limit * count, 200):
            yield Example(
                pieces[lang] * k + LOGIC[lang] * (200 * count - k * pieces[lang].count("\n")),
                k / (200 * count),
            )

    return family


def comments(limit: float, lang: str) -> Iterator[Example]:
    mark = COMMENT.get(lang, "//")
    for k in parts(limit):
        yield Example(mark + "c" * (k - len(mark)) + "\n" + "x" * (N - k - 1), k / N)


def strings(limit: float, lang: str) -> Iterator[Example]:
    for k in parts(limit):
        yield Example('"' + "s" * (k - 2) + '"' + "x" * (N - k), k / N)


def prompts(limit: float, lang: str) -> Iterator[Example]:
    mark = COMMENT.get(lang, "//")
    return (Example(f"{mark} TODO\n" * k + LOGIC[lang] * (N - k), k / N) for k in parts(limit))


def depth(limit: float, lang: str) -> Iterator[Example]:
    return (Example("f(" * k + ")" * k + "\n", k) for k in counts(limit))


def mains(limit: float, lang: str) -> Iterator[Example]:
    return (Example("int main(void)\n{\n    return f();\n}\n" * k, k) for k in counts(limit))


def assignments(limit: float, lang: str) -> Iterator[Example]:
    line = {"Java": "int a = 1;\n", "Go": "a := 1\n", "JavaScript": "let a = 1;\n"}[lang]
    return (Example(LOGIC[lang] * 5 + line * k, k) for k in counts(limit))


def dump(limit: float, lang: str) -> Iterator[Example]:
    return (Example("INSERT " + "x" * (k - 8) + ";" + "\n" * (N - k), k / N) for k in parts(limit))


_QUOTED = '"' + "word " * 21 + '"'

LONG_STRINGS = {
    "Python": f"f({_QUOTED})\n",
    "C": f"f({_QUOTED});\n",
    "Java": f"f({_QUOTED});\n",
    "Go": f"f({_QUOTED})\n",
    "JavaScript": f"f({_QUOTED});\n",
}
ASSERTIONS = {
    "Python": "assert x\n",
    "C": "assert(x);\n",
    "Java": "assert x;\n",
    "JavaScript": "console.assert(x);\n",
}
DEFINITIONS = {
    "Python": "def f(a):\n    g(a)\n",
    "C": "int f(int a) {\n    g(a);\n}\n",
    "Java": "int f(int a) {\n    g(a);\n}\n",
    "Go": "func f(a int) {\n    g(a)\n}\n",
    "JavaScript": "function f(a) {\n    g(a);\n}\n",
}
PRINTS = {
    "Python": "print(x)\n",
    "C": 'printf("x");\n',
    "Java": "System.out.println(x);\n",
    "Go": "fmt.Println(x)\n",
    "JavaScript": "console.log(x);\n",
}
IMPORTS = {
    "Python": "import a\n",
    "C": "#include <a.h>\n",
    "Java": "import a.b;\n",
    "Go": 'import "a"\n',
    "JavaScript": 'import "a";\n',
}

FAMILIES: dict[str, Family] = {
    "size": characters,
    "characters": characters,
    "lines": lines,
    "longest_line": longest_line,
    "mean_line": mean_line,
    "alphanumeric": fill("1", "-"),
    "alphabetic": fill("é", "-"),
    "letters": fill("漢", "1"),
    "digits": fill("1", "a"),
    "white_space": fill(" ", "a"),
    "encoded_run": encoded_run,
    "encoded": fill("A", "-"),
    "visible": visible,
    "visible_share": visible_share,
    "words": words,
    "mean_word": mean_word,
    "hexadecimal": hexadecimal,
    "replacements": fill("\ufffd", "a"),
    "duplicate_lines": duplicate_lines,
    **{f"duplicate_{n}grams": duplicate_ngrams(n) for n in range(5, 11)},
    **{f"top_{n}grams": top_ngrams(n) for n in range(2, 5)},
    "comments": comments,
    "strings": strings,
    "long_strings": lines_of(LONG_STRINGS),
    "prompts": prompts,
    "assertions": lines_of(ASSERTIONS),
    "definitions": lines_of(DEFINITIONS, 4),
    "declarations": lines_of({"C": "int f(int a);\n"}),
    "passes": lines_of({"Python": "pass\n"}),
    "imports": lines_of({"Python": IMPORTS["Python"]}),
    "prints": lines_of(PRINTS),
    "trivial_functions": lines_of({"Python": "def f(a):\n    return 1\n"}, 2),
    "no_logic": lines_of(IMPORTS),
    "preprocessor": lines_of({"C": "#define A 1\n"}),
    "mains": mains,
    "assignments": assignments,
    "depth": depth,
    "dump": dump,
}
"""Measure -> texts with that measurement; nothing where the language has no such thing."""
