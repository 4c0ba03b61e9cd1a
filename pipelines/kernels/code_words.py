"""Words that keep their meaning when a programmer renames things: keywords, and functions called by name.

Only words that honest code seldom uses for its own variables are listed: a listed word that is somebody's
variable breaks the match with its renamed copy, an unlisted one only makes a fingerprint less specific.
"""

from __future__ import annotations

import numpy as np

from pipelines.kernels.murmur import fmix64


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PYTHON_KEYWORDS = _words(
    """
    and as assert async await break class continue def del elif else except false finally for from global if
    import in is lambda none nonlocal not or pass raise return true try while with yield
    """
)
BRACE_KEYWORDS = _words(
    """
    abstract as assert auto bool boolean break byte case catch class const constexpr continue default defer
    delete do double else elseif enum export extends extern false final finally float fn for foreach func
    function go goto if implements import impl in instanceof int interface let long loop match mod mut
    namespace new nil null nullptr operator package private protected pub public range return select short
    signed sizeof static struct super switch template this throw throws trait true try typedef typename typeof
    undefined unsafe unsigned use using var virtual void volatile where while yield
    f32 f64 float32 float64 i32 i64 u8 u32 u64 usize isize int32 int64 uint64
    """
)
CALLED = _words(
    """
    abs all any bin bool bytearray bytes chr complex dict divmod enumerate eval exec filter float format
    frozenset getattr hasattr hash hex id input int isinstance issubclass iter len list map max memoryview min
    next object oct open ord pow print range repr reversed round set setattr slice sorted str sum super tuple
    type vars zip valueerror typeerror keyerror indexerror runtimeerror counter defaultdict deque ordereddict
    append make cap printf println sprintf sqrt floor ceil sort swap vec string isalpha isdigit isupper islower
    tolower toupper to_string strlen count substr implode explode array_map in_array intval
    parseint parsefloat isnan number boolean array math
    """
)
"""Kept where `(` or `.` follows at once."""

# What a word may be, as bits.
IS_PYTHON, IS_BRACE, IS_CALLED, IS_DEF, IS_RECEIVER = 1, 2, 4, 8, 16
_MEANINGS = (
    (PYTHON_KEYWORDS, IS_PYTHON),
    (BRACE_KEYWORDS, IS_BRACE),
    (CALLED, IS_CALLED),
    (frozenset({"def"}), IS_DEF),
    (frozenset({"self", "cls"}), IS_RECEIVER),
)
WORD_SLOT_SHIFT = np.uint64(64 - 12)  # the table below is indexed by 12 bits of the word's hash
HASH_SEED = np.uint64(0xCBF29CE484222325)
HASH_PRIME = np.uint64(0x100000001B3)


def word_hash(word: bytes) -> np.uint64:
    """FNV-1a of 64 bits, finished with Murmur's mixer: what the tokenizer computes of a lower-case word."""
    value = int(HASH_SEED)
    for byte in word:
        value = ((value ^ byte) * int(HASH_PRIME)) & (2**64 - 1)
    return np.uint64(fmix64(np.uint64(value)))


def _known_words() -> tuple[np.ndarray, np.ndarray]:
    """Open addressing: (hash uint64[4096], 0 for an empty slot; bits uint8[4096])."""
    hashes, bits = np.zeros(4096, np.uint64), np.zeros(4096, np.uint8)
    for words, bit in _MEANINGS:
        for word in sorted(words):
            value = word_hash(word.encode())
            slot = int(value >> WORD_SLOT_SHIFT)
            while hashes[slot] not in (0, value):
                slot = (slot + 1) % len(hashes)
            hashes[slot] = value
            bits[slot] |= bit
    hashes.flags.writeable = bits.flags.writeable = False
    return hashes, bits


WORD_HASHES, WORD_BITS = _known_words()
