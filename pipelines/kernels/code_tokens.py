"""Code as tokens that survive editing: what `code_lexer` finds, without what formatters and people add or remove.

Left out in every language: grouping brackets, a comma before a closing bracket, semicolons, the `$` of PHP, the
quotes of a string and its prefix. In Python also a string that is a statement, type hints, and the first parameter
`self` or `cls`. So a function is the same as a method, annotated, documented, or printed from its syntax tree.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from pipelines.kernels.code_lexer import (
    ARROW,
    AT_MARGIN,
    DEF,
    FIRST,
    GUESSED_COMMENTS,
    HASH_COMMENTS,
    KIND,
    LEXER_STATE,
    NAME,
    PYTHON_WORDS,
    RECEIVER,
    SIGN_SEED,
    SLASH_COMMENTS,
    STRING,
    reset_lexer,
    scan,
)
from pipelines.kernels.murmur import fmix64

CODE_TOKENS_VERSION = 1

_HASH_LANGUAGES = (
    "Python, Cython, CMake, CoffeeScript, Dockerfile, Elixir, HCL, Julia, Makefile, Nim, Perl, PowerShell, R, Ruby, "
    "Shell, TOML, Tcl, YAML"
)
_SLASH_LANGUAGES = (
    "C, C#, C++, CSS, CUDA, D, Dart, Go, Groovy, Java, JavaScript, Kotlin, Less, Objective-C, Protocol Buffer, Rust, "
    "SCSS, Scala, Solidity, Swift, SystemVerilog, TypeScript, Verilog, Zig"
)
MODES = {
    **dict.fromkeys(_HASH_LANGUAGES.split(", "), HASH_COMMENTS | PYTHON_WORDS),
    **dict.fromkeys(_SLASH_LANGUAGES.split(", "), SLASH_COMMENTS),
    "PHP": HASH_COMMENTS | SLASH_COMMENTS,
}
"""Language -> mode."""
UNKNOWN = GUESSED_COMMENTS | PYTHON_WORDS
"""The mode of any other language, and of none."""

_COMMA = np.uint64(fmix64(np.uint64(ord(",")) ^ SIGN_SEED))
# The state between calls, behind the lexer's.
(
    _DEPTH,
    _GROUPS,
    _CALLABLE,
    _COMMA_AT,
    _DEF_DEPTH,
    _SKIPPING,
    _SKIP_DEPTH,
    _HINTABLE,
    _PREVIOUS,
) = range(LEXER_STATE, LEXER_STATE + 9)
STATE_SIZE = LEXER_STATE + 9
# Why tokens are being left out.
_NOT, _PARAMETER_HINT, _RESULT_HINT, _VARIABLE_HINT, _SELF = range(5)


def mode_of(language: str | None) -> int:
    """How a language's tokens are found; without one, what is a comment is guessed."""
    return MODES.get(language or "", UNKNOWN)


@nb.njit(cache=True, nogil=True)
def reset(state, start):
    """Begin a document at byte `start`. `state` is int64[STATE_SIZE]."""
    reset_lexer(state, start)
    state[_COMMA_AT] = state[_DEF_DEPTH] = -1


@nb.njit(cache=True, nogil=True)
def next_tokens(data, end, state, mode, raw, exact, shape, begins):
    """Write the next tokens of the document that ends at byte `end` and return how many, 0 when there are no more.

    exact and shape are uint64 hashes and begins are byte positions, as `scan` gives them; each has room for one more
    token than `raw`, which are four arrays for `scan` to fill.
    """
    while True:
        found = scan(data, end, state, mode, raw[0], raw[1], raw[2], raw[3])
        if found == 0:
            return 0
        count = _trim(raw, found, state, mode & PYTHON_WORDS, exact, shape, begins)
        if count:
            return count


@nb.njit(cache=True, nogil=True)
def _trim(raw, found, state, python, exact, shape, begins):
    raw_exact, raw_shape, kinds, raw_begins = raw
    depth, groups, callable_ = state[_DEPTH], state[_GROUPS], state[_CALLABLE]
    comma, def_depth = state[_COMMA_AT], state[_DEF_DEPTH]
    skipping, skip_depth, hintable = state[_SKIPPING], state[_SKIP_DEPTH], state[_HINTABLE]
    previous = state[_PREVIOUS]
    n = 0
    for t in range(found):
        kind, flags = kinds[t] & KIND, kinds[t]
        if flags & FIRST and python:
            hintable = 0
            if skipping == _VARIABLE_HINT and depth <= skip_depth:
                skipping = _NOT
            if flags & AT_MARGIN:
                # A statement: whatever seems open was a bracket in a text that is not Python.
                depth = groups = 0
                def_depth, skipping = -1, _NOT
            if kind == STRING and depth == 0:
                continue
        left_out = False
        could_be_hinted = hintable
        hintable = 0
        can_call = 0
        if kind == 40 or kind == 91 or kind == 123:  # ( [ {
            depth += 1
            left_out = kind == 40 and not callable_
            groups = (groups << 1) | left_out
        elif kind == 41 or kind == 93 or kind == 125:
            depth = max(depth - 1, 0)
            left_out = groups & 1
            groups >>= 1
            can_call = 1
            comma = -1
            if skipping in (_PARAMETER_HINT, _SELF) and depth < skip_depth:
                skipping = _NOT
        elif kind == 44:  # ,
            if skipping == _PARAMETER_HINT and depth == skip_depth:
                skipping = _NOT
            elif skipping == _SELF:
                skipping = _NOT
                left_out = True
        elif NAME <= kind <= RECEIVER:
            can_call = kind in (NAME, RECEIVER)
            if python:
                if kind == DEF:
                    def_depth = depth + 1
                elif kind == RECEIVER and depth == def_depth and previous == 40 and not skipping:
                    skipping, skip_depth = _SELF, depth
                elif flags & FIRST and depth == 0 and can_call:
                    hintable = 1
        elif python and (def_depth >= 0 or could_be_hinted or skipping):
            if kind == 58:  # :
                if skipping == _RESULT_HINT and depth <= skip_depth:
                    skipping, def_depth = _NOT, -1
                elif skipping == _NOT and def_depth >= 0 and depth == def_depth:
                    skipping, skip_depth = _PARAMETER_HINT, depth
                elif skipping == _NOT and def_depth >= 0 and depth == def_depth - 1:
                    def_depth = -1
                elif skipping == _NOT and could_be_hinted:
                    skipping, skip_depth = _VARIABLE_HINT, depth
            elif kind == ARROW:
                if skipping == _NOT and def_depth >= 0 and depth == def_depth - 1:
                    skipping, skip_depth = _RESULT_HINT, depth
            elif kind == 61 and depth == skip_depth and skipping in (_PARAMETER_HINT, _VARIABLE_HINT):
                skipping = _NOT
        callable_, previous = can_call, kind
        if skipping or left_out:
            continue
        if comma >= 0:
            exact[n] = shape[n] = _COMMA
            begins[n] = comma
            n += 1
            comma = -1
        if kind == 44:
            comma = raw_begins[t]
            continue
        exact[n], shape[n], begins[n] = raw_exact[t], raw_shape[t], raw_begins[t]
        n += 1
    state[_DEPTH], state[_GROUPS], state[_CALLABLE] = depth, groups, callable_
    state[_COMMA_AT], state[_DEF_DEPTH] = comma, def_depth
    state[_SKIPPING], state[_SKIP_DEPTH], state[_HINTABLE] = skipping, skip_depth, hintable
    state[_PREVIOUS] = previous
    return n
