"""Python values as JSON text and back, by exact type, without executing anything. Used inside and outside.

None, bool, str, float (nan and infinities too), int and list stand for themselves. Every other type is an object with
one key, its tag: {"t": […]} is a tuple. Instances of other classes, also of subclasses of these, are refused when
encoding, so that no object with a behaviour of its own gets out; what comes in may have been forged, and can then be
only another value of these types, or nothing.
"""

import hashlib
import itertools
import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

SMALL_INT_BITS = 2048  # longer ones go as hexadecimal, which takes linear time and meets no digit limit
SMALL = 1 << 62
SLICE = 4096  # items of a list that are packed at a time
LONG = 1 << 16  # characters from which on a summary is sent instead
LONGEST = 64 << 20  # characters from which on there is only the summary
MAX_NUMPY_ELEMENTS = 1 << 20
_NUMPY_KINDS = "biufc"
_PLAIN = frozenset((type(None), bool, str, float))
_INTS, _TUPLES = frozenset((int,)), frozenset((tuple,))


class Unserialisable(Exception):
    """The value's type, or a part's type, is none of those that may leave the sandbox."""


class Malformed(ValueError):
    """The text is not what `encode` writes."""


_write = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def encode(value: Any) -> str:
    """One line of ASCII. Unserialisable; RecursionError for values too deep."""
    return "".join(_pieces(value))


def _pieces(value: Any) -> Iterator[str]:
    if type(value) is list and len(value) > SLICE:  # its packed form would be larger than it is
        for start in range(0, len(value), SLICE):
            yield "," if start else "["
            yield _write(_pack_list(value[start : start + SLICE]))[1:-1]
        yield "]"
    else:
        yield _write(_pack(value))


def encode_or_sum(value: Any) -> tuple[str, str]:
    """(text, its summary): no summary if the text is not LONG, no text if it is longer than LONGEST.

    Equal values of equal encoding have equal summaries, others have not.
    """
    kept: list[str] = []
    hashed, size, nan = hashlib.blake2b(digest_size=32), 0, False
    for piece in _pieces(value):
        size += len(piece)
        nan = nan or "NaN" in piece  # it may differ from itself
        hashed.update(piece.encode())
        if size <= LONGEST:
            kept.append(piece)
        else:
            kept.clear()
    return "".join(kept), f"#{hashed.hexdigest()} {size}{' NaN' if nan else ''}" if size > LONG else ""


def _pack(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    pack = _PACKERS.get(kind)
    if pack is not None:
        return pack(value)
    if kind.__module__ == "numpy":
        return _pack_numpy(value, kind)
    raise Unserialisable(kind.__qualname__)


def _pack_int(value: int) -> Any:
    return value if value.bit_length() <= SMALL_INT_BITS else {"i": hex(value)}


def _pack_list(value: list[Any]) -> list[Any]:
    kinds = frozenset(map(type, value))
    if kinds <= _PLAIN or (kinds == _INTS and min(value) > -SMALL and max(value) < SMALL):
        return value
    if kinds == _TUPLES and frozenset(map(type, itertools.chain.from_iterable(value))) <= _PLAIN:
        return [{"t": item} for item in value]  # a tuple is written like a list
    return [_pack(item) for item in value]


def _tagged(tag: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {tag: [_pack(item) for item in value]}


def _pack_pairs(tag: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {tag: [[_pack(key), _pack(item)] for key, item in value.items()]}


_PACKERS: dict[type, Callable[[Any], Any]] = {
    int: _pack_int,
    list: _pack_list,
    tuple: _tagged("t"),
    set: _tagged("s"),
    frozenset: _tagged("f"),
    deque: _tagged("deque"),
    dict: _pack_pairs("d"),
    Counter: _pack_pairs("Counter"),
    OrderedDict: _pack_pairs("OrderedDict"),
    defaultdict: _pack_pairs("defaultdict"),
    complex: lambda value: {"c": [value.real, value.imag]},
    bytes: lambda value: {"b": value.hex()},
    bytearray: lambda value: {"bytearray": value.hex()},
    range: lambda value: {"range": [_pack_int(value.start), _pack_int(value.stop), _pack_int(value.step)]},
    Decimal: lambda value: {"Decimal": str(value)},
    Fraction: lambda value: {"Fraction": [_pack_int(value.numerator), _pack_int(value.denominator)]},
}


def _pack_numpy(value: Any, kind: type) -> dict[str, Any]:
    import numpy

    if not (issubclass(kind, numpy.generic) or kind is numpy.ndarray) or value.dtype.kind not in _NUMPY_KINDS:
        raise Unserialisable(f"numpy.{kind.__qualname__}")
    if value.size > MAX_NUMPY_ELEMENTS:
        raise Unserialisable("numpy.ndarray of this size")
    shape = None if kind is not numpy.ndarray else list(value.shape)
    return {"numpy": [value.dtype.str, shape, [_pack(item) for item in value.reshape(-1).tolist()]]}


def decode(text: str | bytes) -> Any:
    """The value that `encode` was given, equal and of the same types. Malformed for anything else."""
    try:
        return _unpack(json.loads(text))
    except Malformed:
        raise
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        KeyError,
        IndexError,
        RecursionError,
        MemoryError,
    ) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None


def _unpack(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        kinds = frozenset(map(type, value))
        return value if not kinds & _CONTAINERS else [_unpack(item) for item in value]
    if kind is dict:
        [(tag, payload)] = value.items()
        return _UNPACKERS[tag](payload)
    return value


_CONTAINERS = frozenset((list, dict))


def _items(payload: Any) -> list[Any]:
    if type(payload) is not list:
        raise Malformed("a list is expected")
    return [_unpack(item) for item in payload]


def _hashed(items: list[Any]) -> list[Any]:
    """Refuses keys chosen to collide: building a set of n such keys takes n^2 steps."""
    if len(items) > 256 and len({hash(item) for item in items}) < len(items) // 2:
        raise Malformed("colliding keys")
    return items


def _pairs(payload: Any) -> dict[Any, Any]:
    pairs = [(key, item) for key, item in map(_items, payload)]
    _hashed([key for key, _ in pairs])
    return dict(pairs)


def _unpack_numpy(payload: Any) -> Any:
    import numpy

    name, shape, items = payload
    dtype = numpy.dtype(str(name))
    if dtype.kind not in _NUMPY_KINDS or len(items) > MAX_NUMPY_ELEMENTS:
        raise Malformed("numpy")
    array = numpy.array(_items(items), dtype=dtype)
    return array[0] if shape is None else array.reshape([int(length) for length in shape])


def _checked(kind: type, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def unpack(payload: Any) -> Any:
        if type(payload) is not kind:
            raise Malformed(f"{kind.__name__} is expected")
        return convert(payload)

    return unpack


def _default(payload: Any) -> Any:
    return defaultdict(None, _pairs(payload))


_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "i": _checked(str, lambda text: int(text, 16)),
    "t": lambda payload: tuple(_items(payload)),
    "s": lambda payload: set(_hashed(_items(payload))),
    "f": lambda payload: frozenset(_hashed(_items(payload))),
    "deque": lambda payload: deque(_items(payload)),
    "d": _pairs,
    "Counter": lambda payload: Counter(_pairs(payload)),
    "OrderedDict": lambda payload: OrderedDict(_pairs(payload)),
    "defaultdict": _default,
    "c": lambda payload: complex(*payload),
    "b": _checked(str, bytes.fromhex),
    "bytearray": _checked(str, bytearray.fromhex),
    "range": lambda payload: range(*_items(payload)),
    "Decimal": _checked(str, Decimal),
    "Fraction": lambda payload: Fraction(*_items(payload)),
    "numpy": _unpack_numpy,
}
