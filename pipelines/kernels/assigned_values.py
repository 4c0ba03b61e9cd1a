"""Which literal is given to a name, in the syntax of any language: what a keyword such as "password" leads to."""

from __future__ import annotations

from numba import njit

from pipelines.kernels.secret_shapes import ASSIGNED_PASSWORD, BLANK, DIGIT, LETTER, WORD


@njit(cache=True, nogil=True)
def assigned(data, i, end, bare, flags, kind):
    """What is assigned to the name whose keyword ends at `i`: (kind, begin, end) of the value.

    name = "value", "name": "value", name := `value`, name: Type = "value", name Type = "value", name("value"),
    set("name", "value"), <name>value<, #define NAME "value"; where `bare`, also name: value and NAME=value.
    """
    stop = min(end, i + 48)
    while i < stop and flags[data[i]] & WORD:
        i += 1
    if i == stop:
        return -1, -1, -1
    quoted = False
    first = i
    while i < end and i - first < 4:
        byte = data[i]
        if byte == 34 or byte == 39 or byte == 96:
            quoted = True
        elif byte != 93 and byte != 41 and byte != 92:
            break
        i += 1
    if i < end and data[i] == 91:  # char password[32]
        stop = min(end, i + 12)
        while i < stop and data[i] != 93:
            i += 1
        i += 1
    i = _skip_blanks(data, i, end, flags)
    if i >= end:
        return -1, -1, -1
    byte = data[i]
    blank = i > first and flags[data[i - 1]] & BLANK
    if byte == 62:
        return value_at(data, i + 1, end, flags, kind, 60)  # up to the next "<"
    assigns = byte == 61 or byte == 58 or byte == 33
    if assigns:
        first = i
        while (
            i < end and i - first < 3 and (data[i] == 61 or data[i] == 58 or data[i] == 33 or data[i] == 62)
        ):
            i += 1
        colon = i - first == 1 and byte == 58
        i = _skip_blanks(data, i, end, flags)
        if colon and not bare and i < end and _begins_type(data[i], flags):
            i = _after_type(data, i, end, flags)
    elif byte == 40 or (byte == 44 and quoted):
        i = _skip_blanks(data, i + 1, end, flags)
    elif blank and _begins_type(byte, flags):
        i = _after_type(data, i, end, flags)
    elif not (blank and (byte == 34 or byte == 39)):
        return -1, -1, -1
    # A prefix of the literal: b"", rb"", u"", L"", @"", and the backslash of a string inside of a string.
    first = i
    while i < end and i - first < 3 and (flags[data[i]] & LETTER or data[i] == 64 or data[i] == 92):
        i += 1
    if i < end and (data[i] == 34 or data[i] == 39 or data[i] == 96):
        return value_at(data, i + 1, end, flags, kind, data[i])
    if bare and assigns:
        return value_at(data, first, end, flags, kind, 0)
    return -1, -1, -1


@njit(cache=True, nogil=True)
def _begins_type(byte, flags):
    return flags[byte] & LETTER or byte == 38 or byte == 42 or byte == 91


@njit(cache=True, nogil=True)
def _after_type(data, i, end, flags):
    """Behind the "=" that follows a type (password: Option<&str> = ..., var password string = ...), else `end`."""
    stop = min(end, i + 48)
    while i < stop and data[i] != 61 and data[i] != 34 and data[i] != 39 and data[i] != 10 and data[i] != 40:
        i += 1
    if i >= stop or data[i] != 61:
        return end
    return _skip_blanks(data, i + 1, end, flags)


@njit(cache=True, nogil=True)
def _skip_blanks(data, i, end, flags):
    stop = min(end, i + 64)
    while i < stop and flags[data[i]] & BLANK:
        i += 1
    return i


@njit(cache=True, nogil=True)
def value_at(data, b, end, flags, kind, close):
    """The value from `b` to the byte `close`, or for 0 to where a bare word ends, if it may be a secret."""
    letters = digits = upper = others = 0
    i = b
    stop = min(end, b + 400)
    while i < stop:
        byte = data[i]
        if close:
            if byte == close or byte == 92:
                break
        elif byte <= 32 or byte == 34 or byte == 39 or byte == 44 or byte == 59 or byte == 60 or byte == 96:
            break
        if byte <= 32 or byte == 127:
            return -1, -1, -1
        if flags[byte] & LETTER:
            letters += 1
            upper += byte <= 90
        elif flags[byte] & DIGIT:
            digits += 1
        else:
            others += 1
        i += 1
    if i == stop and (close or i < end):
        return -1, -1, -1  # it goes on too long, or the file ends inside
    if kind == ASSIGNED_PASSWORD:
        if (
            i - b < 5
            or not (letters or digits > 5)
            or (letters == i - b and (upper == 0 or upper == letters))
        ):
            return -1, -1, -1
    elif i - b < 16 or not letters or (not digits and (upper == 0 or upper == letters)):
        return -1, -1, -1
    return kind, b, i
