"""Names for the integers that the lexical kernels share: counts, state of a document, flags of a line, actions."""

from __future__ import annotations

from numba import njit

part = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""A part of a kernel: never called from Python, and compiled and kept with the kernel."""

CLASS_CODE, CLASS_COMMENT, CLASS_STRING, CLASS_DOCSTRING = range(4)
"""What `byte_classes` says of a byte."""

# The first slots of the state are the counts, in the order of the fields of LexicalStats.
(
    COMMENT_CHARACTERS, DOCSTRING_CHARACTERS, STRING_CHARACTERS, LONG_STRING_LINES, LINES, CODE_LINES,
    COMMENT_LINES, DEF_LINES, PASS_LINES, IMPORT_LINES, PRINT_LINES, ASSERT_LINES, RETURN_LINES,
    PROMPT_LINES, PREPROCESSOR_LINES, MAIN_DEFINITIONS, DECLARATION_LINES, LOGIC_LINES, TRIVIAL_FUNCTIONS,
    FUNCTIONS, ASSIGNMENTS, MAX_DEPTH, COLUMNS,
) = range(23)  # fmt: skip

# The other slots of the state `s` of a document.
(
    # The line: its first byte, its first code byte, its role, where the word ends that says so.
    LINE, INDENT, ROLE, WORD_END,
    # Where a logical line of Python began and what it is; the colon behind its signature; the indentation of
    # the function whose body has done nothing so far, -1 when there is none.
    STATEMENT_INDENT, STATEMENT_ROLE, STATEMENT_FLAGS, STATEMENT_STRINGS, STATEMENT_WORD, COLON, FUNCTION,
    # Open brackets: all; ( and [ since the last brace; braces; braces of namespaces, which do not count.
    DEPTH, PARENS, BRACES, BASE,
    # Does a backslash join this line to the next, and is it a directive of the preprocessor?
    JOINED, IN_DIRECTIVE,
    # Where a statement and its first parenthesis begin, in languages whose functions are known by their shape.
    HEAD, HEAD_PAREN,
    # The last comments (in a row) and the end of the last string, to know what a slash follows.
    COMMENT_START, COMMENT_END, STRING_END,
    # The word that will close a here-document; how often none did; where no regular expression can start.
    HEREDOC, HEREDOC_SIZE, HEREDOC_INDENTED, FAILURES, NO_REGEX,
    # The flags that the last action adds to its line.
    ACTED,
    NESTED,
) = range(COLUMNS, COLUMNS + 29)  # fmt: skip

NESTING = 256
"""How deep the parentheses outside a brace are remembered, in the slots from NESTED on; deeper ones count as closed."""
STATE = NESTED + NESTING

# Kinds of byte: what it adds to the flags of its line, and SPECIAL: it may do more than that.
CODE, OPERATOR, WORD, SPECIAL = 1, 2, 4, 128
# Flags of a line that bytes alone do not tell.
COMMENT, PROMPT, LONG_STRING, CALL, ASSIGNS, DEFINES, DECLARES, JOINS = (1 << i for i in range(8, 16))

# What a SPECIAL byte does when it opens no comment and no string (ACTION below).
(
    ON_NEWLINE, ON_RETURN, ON_OPEN, ON_BRACE, ON_CLOSE, ON_UNBRACE, ON_SEMICOLON, ON_ASSIGN, ON_MINUS,
    ON_COLON, ON_ESCAPE,
) = range(1, 12)  # fmt: skip

# A row of `Tables.languages` begins with the kinds of the 256 bytes. Offsets of what follows:
ACTION, COUNT, FIRST, SLOT, FEATURES, LANGUAGE = 256, 512, 768, 1024, 1280, 1281
"""what a byte does, how many delimiters begin with it, the first of them; slots of the keywords; features."""

# A row of `Tables.delimiters`.
KIND, FLAGS, OPENING_SIZE, CLOSING_SIZE, ESCAPE, INNER = range(6)
OPENING, CLOSING, MARK, DELIMITER = 7, 15, 23, 23 + 256
STOP, PREFIX = 1, 2
"""MARK + byte: does it need a look inside the string, may it stand before the quote?"""

# A keyword in `Tables.store`: its role, where its letters begin and how many there are, the same of the suffix
# that must follow it, and the next keyword of the same word or -1.
ROLE_SAID, TEXT, SIZE, SUFFIX, SUFFIX_SIZE, OTHER, KEYWORD = range(7)
