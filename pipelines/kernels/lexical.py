"""Comments, strings and code told apart, for every language at once, and what rules for code need to count."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from pipelines.kernels.lexical_languages import LANGUAGES
from pipelines.kernels.lexical_scan import scan
from pipelines.kernels.lexical_state import COLUMNS
from pipelines.kernels.lexical_tables import tables
from pipelines.kernels.text import TextBuffers, text_buffers

_NO_CLASSES = np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True)
class LexicalStats:
    """Counts per document, int64[n] each (`known` is bool[n]); all 0 for a null or empty document.

    A character is a Unicode code point. A line ends at "\\n", "\\r\\n" or "\\r"; only lines that are not blank
    count, and each is either a line of code or a line of comment: `lines == code_lines + comment_lines`.
    Strings are code, docstrings are comment.

    The *role* of a line is what its first word says (`lexical_keywords`); modifiers before it and closing
    brackets are skipped, and a line inside parentheses or a string has none.

    Where the language's syntax is not known, all is code and only `lines`, `code_lines` and `max_depth` count.
    Markup, styles and data have comments and strings, but no roles, so that all from `def_lines` to
    `assignments` is 0, save `prompt_comment_lines`.
    """

    known: np.ndarray  # is the syntax of the document's language in `lexical_languages`?
    comment_characters: np.ndarray  # in comments, delimiters included, and in docstrings
    docstring_characters: np.ndarray  # Python: in strings that are a statement of their own, prefix included
    string_characters: np.ndarray  # in all other strings, quotes and prefix included; regular expressions too
    long_string_lines: np.ndarray  # lines with a piece of a string of more than 20 words and runs of
    # punctuation, which is how OpenCoder defines a long string
    lines: np.ndarray
    code_lines: np.ndarray
    comment_lines: np.ndarray
    def_lines: np.ndarray  # that begin with a word for a function (def, fn, func, ...); or where the body of
    # one opens, in C, C++, Java, C#, JavaScript, TypeScript, Dart and Shell (`lexical_heads`)
    pass_lines: np.ndarray  # Python
    import_lines: np.ndarray  # import, #include, using, use, require, ...
    print_lines: np.ndarray  # print, console.log, System.out.print, fmt.Print, ...
    assert_lines: np.ndarray  # a first word that begins with "assert", or one of the language's own
    return_lines: np.ndarray
    prompt_comment_lines: np.ndarray  # with TODO, FIXME, "your code here" or "write your code" in a comment
    preprocessor_lines: np.ndarray  # C family: lines that begin with #
    main_definitions: np.ndarray  # C, C++: functions named main, outside of all but namespaces and extern "C"
    declaration_lines: np.ndarray  # C, C++: lines where the declaration of a function ends, at the same level
    logic_lines: np.ndarray  # lines of code that do more than declare. These only declare: imports, heads of
    # functions and types, annotations, pass, and, if they have no call and no operator, assignments, variables,
    # fields and returns. OpenCoder counts the same kinds as "no logic": 1 - logic_lines / code_lines
    trivial_functions: np.ndarray  # Python: whose body is pass, ..., a docstring or the return of a constant
    functions: np.ndarray  # Python
    assignments: np.ndarray  # lines that assign or declare a variable or a field
    max_depth: np.ndarray  # deepest nesting of ( [ {, 0 without brackets


def lexical_stats(text: pa.Array | pa.ChunkedArray, lang: pa.Array | pa.ChunkedArray) -> LexicalStats:
    """Statistics of a (large_)string column in one pass, without a copy of the text.

    `lang` is the language of each document by the name that `pipelines.language` gives it. Any bytes are safe:
    what is never closed ends with its document, or with its line in languages where a string must.
    Raises ValueError when the columns differ in length.
    """
    languages = language_numbers(lang)
    if len(languages) != len(text):
        raise ValueError(f"{len(text)} texts but {len(languages)} languages")
    counts = [np.zeros((0, COLUMNS), np.int64)]
    row = 0
    for view in text_buffers(text):
        out = np.empty((len(view), COLUMNS), np.int64)
        scan(view.offsets, view.data, languages[row : row + len(view)], tables(), out, _NO_CLASSES)
        counts.append(out)
        row += len(view)
    columns = np.ascontiguousarray(np.concatenate(counts).T)
    return LexicalStats(languages > 0, *columns)


def byte_classes(view: TextBuffers, languages: np.ndarray) -> Iterator[np.ndarray]:
    """The class of each byte, uint8[bytes of the document], document by document.

    0 is code, 1 comment, 2 string, 3 docstring (`CLASS_CODE` and so on in `lexical_state`). `languages` is from
    `language_numbers`. For tests, evidence and highlighting: the counts do not need it.
    """
    classes = np.zeros(len(view.data), np.uint8)
    out = np.empty((len(view), COLUMNS), np.int64)
    scan(view.offsets, view.data, languages, tables(), out, classes)
    for start, end in itertools.pairwise(view.offsets):
        yield classes[start:end]


def language_numbers(lang: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Numbers of languages as the kernels know them, int64[n]; 0 for null and for unknown syntax."""
    numbers = _numbers()
    out = [np.zeros(0, np.int64)]
    for chunk in lang.chunks if isinstance(lang, pa.ChunkedArray) else [lang]:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        of_entry = np.array([numbers.get(name, 0) for name in encoded.dictionary.to_pylist()] + [0], np.int64)
        entries = encoded.indices.fill_null(len(of_entry) - 1).to_numpy(zero_copy_only=False)
        out.append(of_entry[entries])
    return np.concatenate(out)


@cache
def _numbers() -> dict[str, int]:
    return {name: index for index, name in enumerate(LANGUAGES, 1)}
