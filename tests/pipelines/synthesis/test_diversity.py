from __future__ import annotations

import numpy as np
import pytest

from pipelines.synthesis.diversity import self_similarity, spread, uses


def test_the_spread_of_equal_and_of_orthogonal_vectors():
    same = np.tile(np.eye(8)[0], (5, 1))
    assert spread(same)["vendi"] == pytest.approx(1.0)
    assert spread(same)["mean_cosine"] == pytest.approx(1.0)
    apart = np.eye(8)[:5]
    assert spread(apart)["vendi"] == pytest.approx(5.0)
    assert spread(apart)["mean_cosine"] == pytest.approx(0.0)
    two = np.repeat(np.eye(8)[:2], 4, axis=0)  # two kinds of files, four each
    assert spread(two)["vendi"] == pytest.approx(2.0)
    assert spread(two)["mean_cosine"] == pytest.approx(24 / 56)
    assert spread(np.zeros((0, 4)))["vendi"] == 0.0


def test_the_smaller_matrix_gives_the_same_spread():
    vectors = np.random.default_rng(0).normal(size=(40, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kernel = np.linalg.eigvalsh(vectors @ vectors.T / len(vectors))
    kernel = kernel[kernel > 1e-12]
    found = spread(vectors)
    assert found["vendi"] == pytest.approx(np.exp(-(kernel * np.log(kernel)).sum()))
    pairs = (vectors @ vectors.T)[~np.eye(40, dtype=bool)]
    assert found["mean_cosine"] == pytest.approx(pairs.mean())


def test_repeated_shingles_are_those_of_another_file():
    words = [f"w{i}" for i in range(14)]
    own, other = " ".join(words[:9]), " ".join(words[5:])
    assert self_similarity([own, other])["repeated"] == 0.0
    assert self_similarity([own, own]) == {"repeated": 1.0, "repeated_p90": 1.0, "distinct": 0.5}
    assert self_similarity([own + " " + own])["repeated"] == 0.0  # itself is no other file
    half = self_similarity([" ".join(words[:9]), " ".join(words[2:9])])
    assert half["repeated"] == pytest.approx((3 / 5 + 1) / 2)
    assert self_similarity(["", "a b"]) == {"repeated": 0.0, "repeated_p90": 0.0, "distinct": 0.0}


def test_imports_and_calls_are_counted_by_file_and_through_their_aliases():
    first = "import numpy as np\nimport os.path\nfrom json import loads as read\nfrom . import own\n"
    first += "np.linalg.norm(1)\nnp.zeros(2)\nnp.zeros(3)\nos.path.join('a')\nread('1')\nown.f()\nlen(x)\n"
    second = "import os\nos.getcwd()\n"
    found = uses([first, second, "def (", "x = 1\n"])
    assert found["modules"] == {"os": 2, "json": 1, "numpy": 1}
    assert found["functions"] == {
        "json.loads": 1,
        "numpy.linalg.norm": 1,
        "numpy.zeros": 1,
        "os.getcwd": 1,
        "os.path.join": 1,
    }
    assert (found["files"], found["unparsed"]) == (3, 1)
    assert found["third_party"] == pytest.approx(1 / 3)
    assert found["effective_functions"] == pytest.approx(5.0)
    assert uses([])["effective_modules"] == 0.0
