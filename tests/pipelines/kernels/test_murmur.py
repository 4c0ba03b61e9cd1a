"""The numba copies of MurmurHash3 against the C one."""

from __future__ import annotations

import mmh3
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.murmur import exact_keys, fmix64, fmix64_array, murmur128


@settings(deadline=None)  # the first call compiles
@given(
    data=st.binary(max_size=100),
    before=st.integers(0, 20),
    after=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_murmur128_equals_mmh3_inside_a_larger_buffer(data, before, after, seed):
    buffer = np.frombuffer(b"\xff" * before + data + b"\xff" * after, np.uint8)
    assert murmur128(buffer, before, before + len(data), np.uint32(seed)) == mmh3.hash64(
        data, seed, signed=False
    )


def test_every_tail_length_equals_mmh3():
    data = bytes(range(1, 65))
    buffer = np.frombuffer(data, np.uint8)
    for end in range(len(data) + 1):
        assert murmur128(buffer, 0, end, np.uint32(7)) == mmh3.hash64(data[:end], 7, signed=False)


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_fmix64_is_murmurs_finaliser(x):
    want = x
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        want ^= want >> 33
        want = want * multiplier % 2**64
    want ^= want >> 33
    assert fmix64(np.uint64(x)) == want
    assert fmix64_array(np.array([x], np.uint64))[0] == want


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=6), st.integers(0, 3))
def test_exact_keys_of_any_arrow_layout(texts, cut):
    want = [list(mmh3.hash64(text.encode(), signed=False)) for text in texts]
    whole = pa.array(texts, pa.large_string())
    assert exact_keys(whole).tolist() == want
    assert exact_keys(pa.chunked_array([whole[:cut], whole[cut:]])).tolist() == want
    assert exact_keys(whole[cut:]).tolist() == want[cut:]
    assert exact_keys(whole.cast(pa.string())).tolist() == want
