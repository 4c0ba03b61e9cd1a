"""How each language writes comments and strings, and which words and shapes its statements have."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.kernels import lexical_keywords as words
from pipelines.kernels.lexical_syntax import (
    ATTRIBUTES,
    COMMAND,
    COMMENTS,
    CONTINUES,
    DECLARATIONS,
    DECORATORS,
    DELIMITED,
    DIRECTIVES,
    DOUBLES,
    ENDS_AT_TAG,
    ESCAPES,
    FIELDS,
    FIRST,
    GREEDY,
    HASHES,
    HEADS,
    HEREDOC,
    IGNORE_CASE,
    INDENTED,
    LINE_START,
    LONG_BRACKET,
    MULTILINE,
    NAMED_ARGUMENTS,
    NESTS,
    NEWLINES,
    NOT_AFTER_WORD,
    NOT_ATTRIBUTE,
    NOT_OPERATOR,
    ONE_WORD_HEADS,
    OUTSIDE,
    PERCENT,
    POD,
    QUOTES,
    RAW,
    REGEX,
    STATEMENTS,
    STRING,
    TEMPLATE,
    VALUE_START,
    VERBATIM,
    WORD_START,
    Delimiter,
    Syntax,
    block,
    character,
    line,
    long_string,
    string,
)

_SLASHES = (line("//"), block("/*", "*/"))
_NESTING = (line("//"), block("/*", "*/", NESTS))
_HASH = line("#")
_QUOTES = (string('"'), string("'"))
_LONG_QUOTES = (long_string('"'), long_string("'"))
_C_COMMENTS = (line("//", CONTINUES), block("/*", "*/"))
_C_STRINGS = (string('"', DELIMITED, prefix="uUL8R"), string("'", NOT_AFTER_WORD, prefix="uUL8"))
_PYTHON_PREFIX = "rRbBuUfFtT"
_PYTHON_STRINGS = tuple(
    string(quote, flags, prefix=_PYTHON_PREFIX)
    for quote, flags in (('"""', MULTILINE), ("'''", MULTILINE), ('"', 0), ("'", 0))
)
_PASCAL_STRINGS = (string("'", DOUBLES, escape=""), string('"', DOUBLES, escape=""))
_LISP = Syntax((line(";"), block("#|", "|#", NESTS), long_string('"')), features=ESCAPES, letters="-*+/<>=!?")
_ML_STRINGS = (long_string('"'), character())
_POINTERS = "+/%^|!~"  # where * and & also declare

_C = Syntax(
    (*_C_COMMENTS, *_C_STRINGS),
    words.C,
    STATEMENTS | DIRECTIVES | HEADS | DECLARATIONS | FIELDS,
    _POINTERS,
)
_CPP = Syntax(_C.delimiters, words.CPP, _C.features, _POINTERS)
_JAVA = Syntax(
    (*_SLASHES, long_string('"""'), *_QUOTES),
    words.JAVA,
    STATEMENTS | HEADS | ONE_WORD_HEADS | FIELDS | DECORATORS,
    letters="$",
)
_JAVASCRIPT = Syntax(
    (*_SLASHES, *_QUOTES, long_string("`", inner="${"), Delimiter(REGEX, "/", "/")),
    words.JAVASCRIPT,
    STATEMENTS | HEADS | ONE_WORD_HEADS | DECORATORS | NEWLINES,
    letters="$",
)
_PYTHON = Syntax(
    (_HASH, *_PYTHON_STRINGS), words.PYTHON, STATEMENTS | INDENTED | NAMED_ARGUMENTS | DECORATORS
)
_RUBY_REGEX = Delimiter(REGEX, "/", "/", COMMAND)
_SQL = Syntax(
    (line("--"), block("/*", "*/", NESTS), *(s._replace(flags=DOUBLES | MULTILINE) for s in _PASCAL_STRINGS)),
    words.SQL,
    STATEMENTS | IGNORE_CASE | NAMED_ARGUMENTS,
    letters="@$",
)
_CSS = Syntax((block("/*", "*/"), *_QUOTES), letters="-")
_SCSS = Syntax((*_SLASHES, *_QUOTES), letters="-")
_MARKUP = Syntax((block("<!--", "-->"),))
_VERILOG = Syntax((*_SLASHES, string('"')), words.BLOCKS, STATEMENTS | NAMED_ARGUMENTS, letters="$`")
_WORDY = STATEMENTS | IGNORE_CASE | NAMED_ARGUMENTS

LANGUAGES: Mapping[str, Syntax] = {
    "Python": _PYTHON,
    "Jupyter Notebook": _PYTHON,  # notebooks are converted to scripts
    "Cython": _PYTHON,
    "Java": _JAVA,
    "Groovy": Syntax(
        (*_SLASHES, long_string('"""', inner="${"), long_string("'''"), *_QUOTES), words.GROOVY, _JAVA.features
    ),
    "C++": _CPP,
    "C": _C,
    "CUDA": _CPP,
    "GLSL": _C,
    "Objective-C": Syntax(_C.delimiters, words.OBJECTIVE_C, _C.features, _POINTERS),
    "JavaScript": _JAVASCRIPT,
    "TypeScript": Syntax(
        _JAVASCRIPT.delimiters, words.TYPESCRIPT, _JAVASCRIPT.features | FIELDS, "+%^!*~", letters="$"
    ),
    "PHP": Syntax(
        (
            line("//", ENDS_AT_TAG),
            line("#", ENDS_AT_TAG | NOT_ATTRIBUTE),
            block("/*", "*/"),
            *_LONG_QUOTES,
            Delimiter(HEREDOC, "<<<"),
            Delimiter(OUTSIDE, "?>", "<?"),
        ),
        words.PHP,
        STATEMENTS | NAMED_ARGUMENTS | TEMPLATE,
        letters="$",
    ),
    "C#": Syntax(
        (
            *_SLASHES,
            Delimiter(STRING, '"""', '"""', QUOTES | MULTILINE, prefix="$"),
            string('"', VERBATIM, prefix="$@"),
            string("'"),
        ),
        words.CSHARP,
        STATEMENTS | HEADS | ONE_WORD_HEADS | FIELDS | DIRECTIVES | ATTRIBUTES,
    ),
    "Go": Syntax((*_SLASHES, *_QUOTES, long_string("`", escape="")), words.GO, STATEMENTS, _POINTERS),
    "SQL": _SQL,
    "Ruby": Syntax(
        (
            _HASH._replace(flags=WORD_START),
            block("=begin", "=end", LINE_START),
            long_string('"', inner="#{"),
            long_string("'"),
            long_string("`", inner="#{"),
            Delimiter(HEREDOC, "<<"),
            Delimiter(PERCENT, "%", escape="\\"),
            _RUBY_REGEX,
        ),
        words.RUBY,
        STATEMENTS | NAMED_ARGUMENTS,
        letters="?!@$",
    ),
    "Rust": Syntax(
        (*_NESTING, long_string('"', HASHES, prefix="rbc"), character(prefix="b")),
        words.RUST,
        STATEMENTS | ATTRIBUTES,
        _POINTERS,
    ),
    "Scala": Syntax(
        (*_NESTING, long_string('"""', GREEDY, escape=""), string('"'), character()),
        words.SCALA,
        STATEMENTS | NAMED_ARGUMENTS | DECORATORS,
    ),
    "Kotlin": Syntax(
        (*_NESTING, long_string('"""', GREEDY, "", "${"), string('"', inner="${"), string("'")),
        words.KOTLIN,
        STATEMENTS | NAMED_ARGUMENTS | DECORATORS,
    ),
    "Shell": Syntax(
        (
            line("#", WORD_START),
            long_string('"', inner="$("),
            long_string("$'")._replace(closing="'"),
            long_string("'", escape=""),
            Delimiter(HEREDOC, "<<"),
        ),
        words.SHELL,
        STATEMENTS | HEADS | ONE_WORD_HEADS | ESCAPES | NEWLINES,
        "|&!",
        letters="$",
    ),
    "Dart": Syntax(
        (
            *_NESTING,
            long_string('"""', RAW, inner="${", prefix="r"),
            long_string("'''", RAW, inner="${", prefix="r"),
            string('"', RAW, inner="${", prefix="r"),
            string("'", RAW, inner="${", prefix="r"),
        ),
        words.DART,
        STATEMENTS | HEADS | ONE_WORD_HEADS | FIELDS | NAMED_ARGUMENTS | DECORATORS,
        letters="$",
    ),
    "Swift": Syntax(
        (*_NESTING, long_string('"""', HASHES, inner="\\("), string('"', HASHES, inner="\\(")),
        words.SWIFT,
        STATEMENTS | NAMED_ARGUMENTS | DECORATORS,
    ),
    "HTML": _MARKUP,
    "XML": _MARKUP,
    "Vue": _MARKUP,
    "CSS": _CSS,
    "SCSS": _SCSS,
    "Less": _SCSS,
    "JSON": Syntax((string('"'),)),
    "YAML": Syntax(
        (
            line("#", WORD_START),
            string('"', VALUE_START),
            string("'", VALUE_START | DOUBLES, escape=""),
        ),
    ),
    "TOML": Syntax(
        (_HASH, long_string('"""'), long_string("'''", escape=""), string('"'), string("'", escape=""))
    ),
    "HCL": Syntax((*_SLASHES, _HASH, string('"', inner="${"), Delimiter(HEREDOC, "<<"))),
    "GraphQL": Syntax((_HASH, long_string('"""'), string('"'))),
    "Protocol Buffer": Syntax((*_SLASHES, *_QUOTES)),
    "Thrift": Syntax((*_SLASHES, _HASH, *_QUOTES)),
    "Makefile": Syntax((_HASH,), features=ESCAPES),
    "Dockerfile": Syntax((line("#", FIRST), *_QUOTES), features=ESCAPES | IGNORE_CASE),
    "CMake": Syntax((_HASH, Delimiter(LONG_BRACKET, "#[", flags=COMMENTS), long_string('"')), features=ESCAPES),
    "TeX": Syntax((line("%"),), features=ESCAPES),
    "Lua": Syntax(
        (
            line("--"),
            Delimiter(LONG_BRACKET, "--[", flags=COMMENTS),
            Delimiter(LONG_BRACKET, "["),
            *_QUOTES,
        ),
        words.LUA,
        STATEMENTS,
    ),
    "Haskell": Syntax(
        (line("--", NOT_OPERATOR), block("{-", "-}", NESTS), string('"'), character()),
        words.HASKELL,
        STATEMENTS,
        "+/%^|!*&~<>.$",
    ),
    "Elm": Syntax((line("--"), block("{-", "-}", NESTS), long_string('"""'), string('"'), character())),
    "R": Syntax((_HASH, *_LONG_QUOTES), words.R, STATEMENTS | NAMED_ARGUMENTS, letters="."),
    "Perl": Syntax(
        (
            line("#", WORD_START),
            Delimiter(POD, "=", flags=LINE_START),
            *_LONG_QUOTES,
            Delimiter(HEREDOC, "<<"),
            _RUBY_REGEX,
        ),
        words.PERL,
        STATEMENTS | NAMED_ARGUMENTS,
        letters="$@",
    ),
    "Julia": Syntax(
        (_HASH, block("#=", "=#", NESTS), long_string('"""'), long_string('"'), character()),
        words.JULIA,
        STATEMENTS | NAMED_ARGUMENTS,
        letters="@!",
    ),
    "Elixir": Syntax(
        (_HASH, long_string('"""', inner="#{"), long_string("'''"), long_string('"', inner="#{"), string("'")),
        words.ELIXIR,
        STATEMENTS | NAMED_ARGUMENTS,
        letters="?!@",
    ),
    "Nim": Syntax(
        (_HASH, block("#[", "]#", NESTS), long_string('"""', GREEDY, ""), string('"'), character()),
        words.PYTHON,
        STATEMENTS | NAMED_ARGUMENTS,
    ),
    "CoffeeScript": Syntax(
        (
            _HASH,
            block("###", "###"),
            long_string('"""'),
            long_string("'''"),
            *_LONG_QUOTES,
            _RUBY_REGEX,
        ),
        words.JAVASCRIPT,
        STATEMENTS,
    ),
    "PowerShell": Syntax(
        (
            line("#", WORD_START),
            block("<#", "#>"),
            long_string('@"', escape="")._replace(closing='\n"@'),
            long_string("@'", escape="")._replace(closing="\n'@"),
            long_string('"', DOUBLES, escape="`"),
            long_string("'", DOUBLES, escape=""),
        ),
        words.SHELL,
        _WORDY,
        letters="$",
    ),
    "OCaml": Syntax((block("(*", "*)", NESTS), *_ML_STRINGS)),
    "F#": Syntax((line("//"), block("(*", "*)", NESTS), long_string('"""', escape=""), *_ML_STRINGS)),
    "Solidity": Syntax((*_SLASHES, *_QUOTES), words.JAVASCRIPT, STATEMENTS),
    "Zig": Syntax((line("//"), string('"'), string("'")), words.RUST, STATEMENTS, _POINTERS),
    "D": Syntax(
        (*_SLASHES, block("/+", "+/", NESTS), long_string('"'), long_string("`", escape=""), string("'")),
        words.CPP,
        STATEMENTS | HEADS | ONE_WORD_HEADS | FIELDS,
        _POINTERS,
    ),
    "Erlang": Syntax(
        (line("%"), long_string('"', NOT_AFTER_WORD), string("'", NOT_AFTER_WORD)), letters="$"  # $" is a character
    ),
    "Prolog": Syntax((line("%"), block("/*", "*/"), long_string('"'), string("'", NOT_AFTER_WORD))),
    "Clojure": _LISP,
    "Common Lisp": _LISP,
    "Scheme": _LISP,
    "Emacs Lisp": Syntax((line(";"), long_string('"')), features=ESCAPES, letters="-*+/<>=!?"),
    "Pascal": Syntax(
        (line("//"), block("{", "}"), block("(*", "*)"), *_PASCAL_STRINGS), words.BLOCKS, _WORDY
    ),
    "Ada": Syntax((line("--"), string('"', DOUBLES, ""), character()), words.BLOCKS, _WORDY),
    "VHDL": Syntax((line("--"), string('"', DOUBLES, ""), character()), words.BLOCKS, _WORDY),
    "Fortran": Syntax((line("!"), *_PASCAL_STRINGS), words.BLOCKS, _WORDY),
    "MATLAB": Syntax(
        (line("%"), block("%{", "%}", FIRST), string('"', DOUBLES, ""), string("'", NOT_AFTER_WORD | DOUBLES, "")),
        words.BLOCKS,
        STATEMENTS,
        letters=").]",
    ),
    "Verilog": _VERILOG,
    "SystemVerilog": _VERILOG,
    "Tcl": Syntax((line("#", FIRST), long_string('"')), features=ESCAPES),
    "Vim Script": Syntax((line('"', FIRST), string('"'), string("'", DOUBLES, ""))),
    "Batchfile": Syntax((line("rem ", FIRST), line("::", FIRST), string('"')), features=IGNORE_CASE),
    "Assembly": Syntax((line(";"), line("#", FIRST), *_SLASHES, string('"'))),
    "LLVM": Syntax((line(";"), string('"')), letters="@%$."),
}  # fmt: skip
"""Languages whose lexical syntax is known, by the name `pipelines.language` gives them."""
