"""The tokenizer and its grams against slow, obvious ones, and the edits that they must not see."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.code_grams import all_grams
from pipelines.kernels.code_tokens import STATE_SIZE, mode_of, next_tokens, reset
from pipelines.kernels.code_words import BRACE_KEYWORDS, CALLED, PYTHON_KEYWORDS, word_hash
from pipelines.kernels.head_filter import HEAD, find_heads, head_filter
from pipelines.kernels.text import TextBuffers, text_buffers


def view_of(texts: list[str]) -> TextBuffers:
    (view,) = text_buffers(pa.array(texts, pa.large_string()))
    return view


def tokens(text: str, language: str | None = "Python", chunk: int = 64) -> list[tuple[int, int, int]]:
    """(exact, shape, begin) of each token, read in small chunks."""
    view, state = view_of([text]), np.empty(STATE_SIZE, np.int64)
    raw = (*(np.empty(chunk, np.uint64) for _ in range(2)), *(np.empty(chunk, np.int64) for _ in range(2)))
    exact, shape, begins = (
        np.empty(chunk + 1, np.uint64),
        np.empty(chunk + 1, np.uint64),
        np.empty(chunk + 1, np.int64),
    )
    reset(state, view.offsets[0])
    found: list[tuple[int, int, int]] = []
    while count := next_tokens(
        view.data, view.offsets[1], state, mode_of(language), raw, exact, shape, begins
    ):
        found += zip(exact[:count].tolist(), shape[:count].tolist(), begins[:count].tolist(), strict=True)
    return found


def words(text: str, language: str | None = "Python") -> str:
    """The tokens as the text has them (a string by its quote), `_` for a name."""
    data = text.encode()
    pattern = re.compile(rb"\d\w*(?:\.\d\w*)?|\w+|[-=]>|\*\*=?|//=?|::|==|[-+*/<>!%&|^]=|\"|'|.", re.DOTALL)
    parts = []
    for _, shape, begin in tokens(text, language):
        matched = pattern.match(data, begin)
        assert matched
        parts.append(matched[0].decode() if shape else "_")
    return " ".join(parts)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x = a.size + len(b)", "_ = _ . size + len ( _ )"),
        ("def f(a: int, b: Dict[str, int] = {}, *c) -> List[int]:", "def _ ( _ , _ = { } , * _ ) :"),
        ("def f(self, a): return self.a", "def _ ( _ ) : return _ . a"),
        ("def f(self): pass", "def _ ( ) : pass"),
        ("count: Dict[str, int] = 3\nz: int\ny = 1", "_ = 3 _ _ = 1"),
        ("d = {a: 1,\n     b: 2,\n}", "_ = { _ : 1 , _ : 2 }"),
        ("if (a == (b, c)):\n    return (a + b) * c", "if _ == _ , _ : return _ + _ * _"),
        ("print(a); f(b, )", "print ( _ ) _ ( _ )"),
        ('def f():\n    """Doc\n    string."""\n    x = """a"""  # said\n', 'def _ ( ) : _ = "'),
        ("'docs'\nx = r'a' + f\"{b}\"", "_ = ' + \""),
        ("# all\n", ""),
        ("a // b # c", "_ // _"),
        ("x **= 2.5e3 - 0xFF", "_ **= 2.5e3 - 0xFF"),
    ],
)
def test_python(text: str, wanted: str) -> None:
    assert words(text) == wanted


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("int f(int a) { return a / 2; // half\n}", "C", "int _ ( int _ ) { return _ / 2 }"),
        ("#include <a.h>\n/* no\n */ x->y = 1;", "C++", "# _ < _ . h > _ -> y = 1"),
        ("const f = (a, b) => { return `x ${a}` }", "JavaScript", "const _ = _ , _ => { return ` }"),
        (
            "let mut v: Vec<i32> = vec![]; std::max(1, v)",
            "Rust",
            "let mut _ : _ < i32 > = _ ! [ ] _ :: max ( 1 , _ )",
        ),
        ("$a = 1; # one\n// two\n$b", "PHP", "_ = 1 _"),
        (
            "#include <x>\n# said\nx = a // b\n// said\nf(a, // said\nb)",
            None,
            "# _ < _ > _ = _ // _ _ ( _ , _ )",
        ),
        ("x = 'never closed\ny = `never closed\n/* never closed", None, "_ = ' _ = _ _ / * _ _"),
    ],
)
def test_other_languages(text: str, language: str | None, wanted: str) -> None:
    assert words(text, language) == wanted


def test_a_name_like_a_word_that_is_kept_is_kept_only_where_it_is_that_word() -> None:
    assert words("len = 3; a.len; len(a); lambda: len") == "_ = 3 _ . len len ( _ ) lambda : _"
    for word in sorted(PYTHON_KEYWORDS):
        assert tokens(word)[0][0] == tokens(word)[0][1] == word_hash(word.encode()), word
    for word in sorted(BRACE_KEYWORDS):
        assert tokens(word.upper(), "C")[0][1] == word_hash(word.encode()), word
    for word in sorted(CALLED - PYTHON_KEYWORDS):
        assert tokens(f"{word}(")[0][1] == word_hash(word.encode()), word
        assert tokens(word)[0][1] == 0, word


CODE = st.lists(
    st.sampled_from(
        [
            "def",
            "f",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ":",
            ",",
            "=",
            "->",
            "self",
            "x",
            "yy",
            "12",
            "3.5",
            "'a'",
            '"b c"',
        ]
        + [
            '"""d"""',
            "'''",
            "`",
            "/*",
            "*/",
            "//",
            "# c",
            "\n",
            "\n    ",
            " ",
            "\\",
            ".",
            ";",
            "$",
            "é",
            "\x00",
            "\r\n",
        ]
        + ["if", "return", "len", "**", "==", "<=", "+", "-", "\ufeff"]
    ),
    max_size=60,
).map("".join)
LANGUAGES = st.sampled_from(["Python", "C", "PHP", "JSON", None])


@settings(max_examples=300, deadline=None)
@given(CODE | st.text(max_size=80), LANGUAGES, st.integers(1, 9))
def test_chunks_do_not_show(text: str, language: str | None, chunk: int) -> None:
    whole = tokens(text, language, chunk=4096)
    assert tokens(text, language, chunk) == whole
    begins = [begin for _, _, begin in whole]
    assert begins == sorted(set(begins))
    assert all(0 <= begin < len(text.encode()) for begin in begins)


def grams_slowly(found: list[tuple[int, int, int]], n: int, by_shape: bool) -> list[tuple]:
    """Every window as the tuple of what it compares."""
    windows = []
    for start in range(len(found) - n + 1):
        window = found[start : start + n]
        if not by_shape:
            windows.append(tuple(exact for exact, _, _ in window))
            continue
        seen: dict[int, int] = {}
        compared: list[tuple[str, int]] = []
        for place, (exact, shape, _) in enumerate(window):
            if shape:
                compared.append(("kept", shape))
                continue
            compared.append(("name", place - seen[exact] if exact in seen else 0))
            seen[exact] = place
        windows.append(tuple(compared))
    return windows


@pytest.mark.parametrize("by_shape", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 10, 63])
def test_grams_are_equal_exactly_where_windows_are(n: int, by_shape: bool) -> None:
    """On the standard library's own code, longer than several chunks."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = [
        (root / name).read_text() for name in ("heapq.py", "bisect.py", "textwrap.py", "argparse.py")
    ] + ["", "x"]
    view = view_of(texts)
    modes = np.full(len(view), mode_of("Python"), np.int64)
    grams, documents, counts = all_grams(view.offsets, view.data, modes, n, by_shape)
    named: dict[tuple, int] = {}
    for document, text in enumerate(texts):
        found = tokens(text)
        assert counts[document] == len(found)
        windows = grams_slowly(found, n, by_shape)
        mine = grams[documents == document].tolist()
        assert len(mine) == len(windows)
        for gram, window in zip(mine, windows, strict=True):
            assert named.setdefault(window, gram) == gram
    assert len(set(named.values())) == len(named)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("abc+"), max_size=200), st.integers(1, 20))
def test_rolling_shape_grams(signs: list[str], n: int) -> None:
    """Few names and many repeats: what rolls must be corrected at nearly every step."""
    text = " ".join(signs)
    view = view_of([text])
    grams, _, _ = all_grams(view.offsets, view.data, np.array([mode_of("Python")]), n, True)
    windows = grams_slowly(tokens(text), n, True)
    named = dict(zip(windows, grams.tolist(), strict=True))
    assert [named[window] for window in windows] == grams.tolist()
    assert len(set(named.values())) == len(named)


def test_time_is_linear_in_what_is_never_closed() -> None:
    """200 kB of each opening sign: a rescan per sign would take a minute each."""
    for sign in ("/* ", '""" ', "''' ", "` ", "'", '"', "(", "#", "\\", "def f(self, ", "x: "):
        for language in ("Python", "C", None):
            tokens(sign * (200_000 // len(sign)), language, chunk=4096)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_heads_are_found_where_they_are(data: st.DataObject) -> None:
    letters = st.binary(min_size=HEAD, max_size=40).map(lambda raw: bytes(97 + byte % 2 for byte in raw))
    strings = data.draw(st.lists(letters, min_size=1, max_size=12))
    around = st.binary(max_size=40).map(lambda raw: bytes(97 + byte % 2 for byte in raw))
    text = b"".join(data.draw(around) + data.draw(st.sampled_from(strings)) for _ in range(3)) + data.draw(
        around
    )
    block = np.frombuffer(text + bytes(50), np.uint8).copy()
    found = find_heads(head_filter(strings), block, len(text))
    heads = {string[:HEAD] for string in strings}
    assert sorted(found.tolist()) == [i for i in range(len(text)) if text[i : i + HEAD] in heads]


def test_more_heads_than_expected_are_all_reported() -> None:
    block = np.full(100_000, 97, np.uint8)
    found = find_heads(head_filter([b"a" * HEAD]), block, len(block))
    assert sorted(set(found.tolist())) == list(range(100_000 - HEAD + 1))
    with pytest.raises(ValueError, match="at least 23 bytes"):
        head_filter([b"short"])
