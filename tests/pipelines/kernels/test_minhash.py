"""MinHash against a plain Python copy of its definition, and against exact Jaccard on real files."""

from __future__ import annotations

import random
import re
import sysconfig
from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.minhash import (
    EMPTY,
    band_keys,
    estimate_jaccard,
    minhash,
    shingle_hashes,
    signatures,
    sketch_sets,
)

M64 = 2**64 - 1


def tokens_of(text: str) -> list[bytes]:
    return re.findall(rb"[A-Za-z0-9_]+", text.encode())


def shingles_of(text: str, shingle: int = 5) -> set[tuple[bytes, ...]]:
    tokens = tokens_of(text)
    return {tuple(tokens[i : i + shingle]) for i in range(len(tokens) - shingle + 1)}


def jaccard(left: set, right: set) -> float:
    return len(left & right) / len(left | right)


def fmix64(x: int) -> int:
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ x >> 33) * multiplier & M64
    return x ^ x >> 33


def plain_hash(words: tuple[bytes, ...]) -> int:
    rolling = 0
    for word in words:
        hashed = 0xCBF29CE484222325
        for byte in word:
            hashed = (hashed ^ byte) * 0x100000001B3 & M64
        rolling = (rolling * 0x9E3779B97F4A7C15 + fmix64(hashed)) & M64
    return fmix64(rolling)


def plain_minhash(text: str, bins: int, shingle: int) -> list[int] | None:
    """The definition, over sets of shingles: a bin has the least value of the first round that reaches it."""
    hashes = [plain_hash(words) for words in shingles_of(text, shingle)]
    if not hashes:
        return None
    values: list[list[int]] = [[] for _ in range(bins)]
    for one in hashes:
        values[one * bins >> 64].append(one & 0x7FFFFFFF)
    for round_ in range(1, 2 * bins + 1):
        for one in hashes:
            again = fmix64(one ^ (round_ * 0x9E3779B97F4A7C15 & M64))
            at = again * bins >> 64 if round_ <= bins else round_ - bins - 1
            values[at].append(1 << 31 | round_ << 21 | again & 0x1FFFFF)
    return [min(found) for found in values]


words = st.sampled_from(["a", "b", "if", "x1", "_", "é", "名", "self", "return0"])
separators = st.sampled_from([" ", "\n", ".", "(", "::", "ü", "\0"])
code = st.lists(st.tuples(words, separators), max_size=40).map(lambda parts: "".join(w + s for w, s in parts))


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(code, min_size=1, max_size=4),
    bins=st.sampled_from([64, 128, 256]),
    shingle=st.integers(1, 6),
)
def test_equals_the_definition(texts, bins, shingle):
    result = minhash(pa.array(texts, pa.large_string()), bins=bins, shingle=shingle)
    for i, text in enumerate(texts):
        want = plain_minhash(text, bins, shingle)
        assert result.short[i] == (want is None)
        if want is not None:
            assert result.bins[i].tolist() == want


def test_layout_of_the_column_and_formatting_of_the_code_do_not_matter():
    texts = ["def f(a, b):\n    return a + b\n", "", "x = 1", "def f ( a,b ) :  return  a+b"]
    whole = minhash(pa.array(texts, pa.large_string()))
    parts = pa.chunked_array([pa.array(["", *texts[:2]])[1:], pa.array(texts[2:])])
    for got, want in zip(minhash(parts), whole, strict=True):
        assert (got == want).all()
    assert (whole.bins[0] == whole.bins[3]).all()


@pytest.mark.parametrize("text", ["", "a b c d", "名前 関数 " * 50, "+-*/ " * 50])
def test_fewer_tokens_than_a_shingle_is_short(text):
    assert minhash(pa.array([text], pa.large_string())).short.tolist() == [True]


def test_one_shingle_fills_every_bin_with_its_own_values():
    result = minhash(pa.array(["a b c d e"] * 2, pa.large_string()))
    assert not result.short.any()
    assert (result.bins[0] == result.bins[1]).all()
    assert (result.bins[0] < EMPTY).all()
    assert len(set(result.bins[0].tolist())) == 128


@settings(max_examples=60, deadline=None)
@given(code, code)
def test_the_minimum_of_two_is_that_of_the_union(left, right):
    both = left + " z z z z z " + right  # the seam's shingles belong to one of the parts
    parts = minhash(
        pa.array([left + " z z z z z ", " z z z z z " + right, both], pa.large_string()), shingle=3
    )
    if not parts.short.any():
        assert (np.minimum(parts.bins[0], parts.bins[1]) == parts.bins[2]).all()


def test_documents_left_out_are_as_empty():
    texts = pa.chunked_array([pa.array(["a b c d e", "f g h i j"]), pa.array(["k l m n o"])])
    found = minhash(texts, only=np.array([True, False, True]))
    assert found.short.tolist() == [False, True, False]
    assert (found.bins[[0, 2]] == minhash(texts).bins[[0, 2]]).all()


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(code, max_size=3), shingle=st.integers(1, 6))
def test_shingle_hashes_come_in_order_with_repetitions(texts, shingle):
    found = [hashes.tolist() for hashes in shingle_hashes(pa.array(texts, pa.large_string()), shingle)]
    for text, hashes in zip(texts, found, strict=True):
        tokens = tokens_of(text)
        assert hashes == [
            plain_hash(tuple(tokens[i : i + shingle])) for i in range(len(tokens) - shingle + 1)
        ]


def test_band_keys_are_mmh3_of_the_band():
    bins = np.random.default_rng(0).integers(0, 2**32, (3, 128)).astype(np.uint32)
    bins[0] = 5  # equal bins in every band must still give different keys
    keys = band_keys(bins, bands=16, rows=8)
    for i in range(3):
        for band in range(16):
            part = bins[i, band * 8 : band * 8 + 8].tobytes()
            assert keys[i, band] == mmh3.hash64(part, band, signed=False)[0]
    assert len(set(keys[0].tolist())) == 16
    with pytest.raises(ValueError, match="17 bands of 8 rows need 136 bins"):
        band_keys(bins, bands=17, rows=8)


def test_estimate_takes_off_chance_agreement():
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 256, (2, 4000, 128)).astype(np.uint8)
    right[:, :64] = left[:, :64]
    assert abs(estimate_jaccard(left, right).mean() - 0.5) < 0.0005  # 0.502 without the correction
    assert estimate_jaccard(left, left).tolist() == [1.0] * 4000


@pytest.fixture(scope="module")
def files() -> list[str]:
    """Real code: modules of the standard library."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="ignore")[:20_000] for path in paths]
    return [text for text in texts if len(text) > 1000][:150]


def mutate(text: str, rng: random.Random, share: float) -> str:
    """The file with `share` of its lines dropped, doubled or with a name changed."""
    lines = []
    for line in text.splitlines():
        if rng.random() < share:
            kind = rng.randrange(3)
            if kind == 0:
                continue
            line = line + "\n" + line if kind == 1 else re.sub(r"\b[a-z]+\b", "renamed", line, count=1)
        lines.append(line)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def pairs(files) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Real file pairs of every similarity, and their exact Jaccard similarity."""
    rng = random.Random(0)
    pairs = [(text, mutate(text, rng, share)) for text in files for share in (0.01, 0.04, 0.1, 0.3, 0.5, 0.7)]
    pairs += [(rng.choice(files), rng.choice(files)) for _ in range(50)]
    exact = np.array([jaccard(shingles_of(a), shingles_of(b)) for a, b in pairs])
    return pairs, exact


@pytest.mark.parametrize(("bins", "bound"), [(128, 0.05), (256, 0.035)])
def test_estimate_is_close_to_exact_jaccard(pairs, bins, bound):
    texts, exact = pairs
    left = signatures(minhash(pa.array([a for a, _ in texts], pa.large_string()), bins=bins).bins)
    right = signatures(minhash(pa.array([b for _, b in texts], pa.large_string()), bins=bins).bins)
    error = estimate_jaccard(left, right) - exact
    assert np.histogram(exact, [0, 0.2, 0.5, 0.8, 1])[0].min() > 20  # the pairs span the range
    assert np.sqrt((error**2).mean()) < bound
    assert abs(error.mean()) < 0.01


def test_small_sets_are_unbiased_too_and_no_noisier():
    """A few shingles leave most bins to the later rounds."""
    rng = random.Random(2)
    left, right, exact = [], [], []
    for _ in range(2000):
        tokens = [f"t{rng.randrange(10**6)}" for _ in range(24)]
        other = tokens[: rng.randrange(8, 24)] + [f"u{rng.randrange(10**6)}" for _ in range(6)]
        left.append(" ".join(tokens))
        right.append(" ".join(other))
        exact.append(jaccard(shingles_of(left[-1]), shingles_of(right[-1])))
    a, b = (signatures(minhash(pa.array(texts, pa.large_string())).bins) for texts in (left, right))
    error, exact = estimate_jaccard(a, b) - np.array(exact), np.array(exact)
    assert abs(error.mean()) < 0.005
    assert (error**2).mean() < 0.6 * (exact * (1 - exact) / 128).mean()  # of 128 independent permutations


def test_banding_finds_near_duplicates_and_little_else(pairs):
    texts, exact = pairs
    left = band_keys(minhash(pa.array([a for a, _ in texts], pa.large_string())).bins, bands=16, rows=8)
    right = band_keys(minhash(pa.array([b for _, b in texts], pa.large_string())).bins, bands=16, rows=8)
    found = (left == right).any(axis=1)
    near, far = exact >= 0.85, exact < 0.4
    assert near.sum() > 100
    assert far.sum() > 50
    assert found[near].mean() >= 0.95
    assert found[far].mean() <= 0.05


def test_every_seed_is_another_hash_function_of_the_same_law():
    """200 draws of one pair of sets agree in as many bins as the sets' Jaccard similarity says."""
    common, left, right = np.split(np.random.default_rng(0).integers(0, 2**64, 900, np.uint64), [500, 700])
    sets = [np.concatenate([common, own]) for own in (left, right)]
    offsets, hashes = np.array([0, 700, 1400]), np.concatenate(sets)
    draws = [sketch_sets(offsets, hashes, bins=128, seed=seed) for seed in range(200)]
    assert (sketch_sets(offsets, hashes, bins=128, seed=7) == draws[7]).all()
    assert not (draws[0] == draws[1]).any()
    agree = np.array([(both[0] == both[1]).mean() for both in draws])
    assert abs(agree.mean() - 500 / 900) < 4 * agree.std() / np.sqrt(200)
