"""Executes candidates. This process belongs to the candidate: nothing that it says is believed, only compared.

On the channel come lines of JSON, and lines go back, of which the first byte says what they are:

=  an output, encoded    !  an exception's name    ?  the type of an output that is refused
#  the summary of a long output, which is sent itself, in the next line, if the answer is not an empty line
"""

import io
import itertools
import json
import mmap
import os
import struct
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

from evaluation.sandbox.inside import tester
from evaluation.sandbox.inside.tagged import Unserialisable, decode, encode_or_sum

_PROGRESS = struct.Struct("q").pack_into
MODULE = "candidate"
BETWEEN = -2  # progress between two inputs
_ITERATORS: tuple[type, ...] = (
    types.GeneratorType,
    map,
    filter,
    zip,
    reversed,
    enumerate,
    type(iter([])),
    type(iter(())),
    type({}.keys()),
    type({}.values()),
    itertools.chain,
)


def serve(channel: int, progress: mmap.mmap, request: dict[str, Any]) -> int:
    """Runs one request; the exit code is for the keeper's report."""
    sys.stdout = _stream(1, 8192)
    sys.stderr = _stream(2, 0)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), "utf-8")
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module  # dataclasses and pickle look it up
    modes = {"batch": _batch, "calls": _calls, "program": _program, "tester": _tester}
    code = modes[request["kind"]](_Lines(channel), progress, request, module.__dict__)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or 1
    return code


def _stream(fd: int, size: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    buffered = io.BufferedWriter(raw, size or 1)
    return io.TextIOWrapper(buffered, "utf-8", "backslashreplace", write_through=not size)


class _Lines:
    """The channel as lines."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            parts = [self._rest]
            while b"\n" not in parts[-1]:
                part = os.read(self._fd, 1 << 20)
                if not part:
                    return
                parts.append(part)
            line, _, self._rest = b"".join(parts).partition(b"\n")
            yield line

    def send(self, text: str) -> None:
        data = text.encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]


def _execute(lines: _Lines, sources: list[str], names: dict[str, Any]) -> bool:
    """Run the candidate's text; the first line back is "=" or the exception."""
    try:
        # Each compiled alone: an open string in one cannot swallow the next.
        for i, program in enumerate([_compiled(text, i) for i, text in enumerate(sources)]):
            del i
            exec(program, names)
    except BaseException as error:
        _complain(error)
        lines.send("!" + type(error).__name__)
        return False
    lines.send("=")
    return True


def _compiled(text: str, index: int) -> types.CodeType:
    return compile(text, f"part{index}.py", "exec", dont_inherit=True)


def _complain(error: BaseException) -> None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        os.write(2, type(error).__name__.encode("utf-8", "replace") + b"\n")


def _call(function: Any, arguments: Any, iterate: bool = False) -> tuple[str, Any]:
    """("", value), or the line for the exception."""
    try:
        value = function(*arguments)
        if iterate and isinstance(value, _ITERATORS):
            value = list(value)  # type: ignore[call-overload]  # all of them are iterable
        return "", value
    except BaseException as error:
        _complain(error)
        return "!" + type(error).__name__, None


def _encoded(value: Any) -> tuple[str, str]:
    """(line, summary of it or "")."""
    try:
        text, summary = encode_or_sum(value)
    except Unserialisable as error:
        return "?" + str(error), ""
    except BaseException as error:  # too deep, too large, or its class has a behaviour of its own
        return "?" + type(error).__name__, ""
    return ("=" + text if text else "?a longer output than may be sent"), summary


def _batch(lines: _Lines, progress: mmap.mmap, request: dict[str, Any], names: dict[str, Any]) -> int:
    """The function on all inputs, which are one line, an encoded list of argument lists."""
    feed = iter(lines)
    sources = json.loads(next(feed))
    arguments = next(feed)
    if not _execute(lines, sources, names):
        return 1
    # Decoded after the candidate's text has run: it may still look for them, but they are no secret.
    inputs = json.loads(arguments) if request["plain"] else decode(arguments)
    timed, iterate = request["timed"], request["iterate"]
    try:
        function = names[request["entry_point"]]
    except KeyError:
        lines.send("!NameError")
        return 1
    for index, given in enumerate(inputs):
        _PROGRESS(progress, 0, index)
        started = time.process_time()
        line, value = _call(function, given, iterate)
        seconds = time.process_time() - started
        _PROGRESS(progress, 0, BETWEEN)  # what comes now is our work
        summary = ""
        if not line:
            line, summary = _encoded(value)
            del value
        if timed:
            lines.send(f"{seconds:.6f} {summary}")
        elif summary:
            lines.send(summary)
            if not next(feed):
                continue
        lines.send(line)
        if line[:1] == "!" and not timed:
            return 1
    return 0


def _calls(lines: _Lines, progress: mmap.mmap, request: dict[str, Any], names: dict[str, Any]) -> int:
    """The candidate's functions, called by a tester in another process: [name, encoded arguments]."""
    feed = iter(lines)
    if not _execute(lines, json.loads(next(feed)), names):
        return 1
    kept: list[Any] = []
    for line in feed:
        name, positional, keywords = json.loads(line)
        lines.send(_called(names, kept, name, positional, keywords))
    return 0


def _called(names: dict[str, Any], kept: list[Any], name: str, positional: str, keywords: str) -> str:
    try:
        function = names[name]
        given, named = (tester.resolved(decode(text), names, kept) for text in (positional, keywords))
    except BaseException as error:
        return "!" + ("NameError" if isinstance(error, KeyError) else type(error).__name__)
    line, value = _call(lambda *arguments: function(*arguments, **named), given)
    if not line:
        line, _ = _encoded(value)
    if line[:1] == "?":  # it stays here, under a number
        kept.append(value)
        line = f"?{len(kept) - 1}"
    return line


def _program(lines: _Lines, progress: mmap.mmap, request: dict[str, Any], names: dict[str, Any]) -> int:
    """Sources to their end; believed only where nobody gains by lying."""
    feed = iter(lines)
    sources, token = json.loads(next(feed))
    if not _execute(lines, sources, names):
        return 1
    lines.send("=" + json.dumps(token))
    return 0


def _tester(lines: _Lines, progress: mmap.mmap, request: dict[str, Any], names: dict[str, Any]) -> int:
    """The trusted half of an assert-style test; see `tester.py`."""
    return tester.run(lines, names)
