"""Grouping, tokenising and packing inside a shard: nothing is lost, and a seed decides the order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from pipelines.sequences import tokenizer
from pipelines.sequences.group import training_documents
from pipelines.sequences.tokenizer import CodeTokenizer, load_tokenizer, train_tokenizer

TEXTS = ["def f(x):\n    return x + 12\n", "", "naïve = 'é'  # ß\n" * 40, "\t\tx\r\n"] * 7


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> CodeTokenizer:
    return load_tokenizer(str(train_tokenizer(TEXTS, 600, tmp_path_factory.mktemp("tokenizer"))))


@pytest.mark.parametrize("limit", [1, 100, 1 << 20])
def test_texts_in_parts_give_the_tokens_of_each_text_alone(made, limit, monkeypatch):
    monkeypatch.setattr(tokenizer, "BATCH_CHARACTERS", limit)
    found = made.encode(TEXTS)
    assert [ids.tolist() for ids in found] == [made.encode([text])[0].tolist() for text in TEXTS]
    assert [made.tokenizer.decode(ids.tolist()) for ids in found] == TEXTS
    assert made.encode([]) == []


def test_training_documents_are_one_repository_in_one_language():
    rng = np.random.default_rng(0)
    rows = [(f"r{rng.integers(6)}", ("C", "Python")[rng.integers(2)]) for _ in range(200)]
    documents = pa.table({"repo": [repo for repo, _ in rows], "lang": [lang for _, lang in rows]})
    groups = training_documents(documents, [1, 0, 3])
    assert sorted(np.concatenate(groups).tolist()) == list(range(200))
    assert all(len({rows[file] for file in group}) == 1 for group in groups)
    assert len({rows[group[0]] for group in groups}) == len(groups) == len(set(rows))
    assert [g.tolist() for g in groups] == [g.tolist() for g in training_documents(documents, [1, 0, 3])]
    other = training_documents(documents, [1, 1, 3])
    assert [g.tolist() for g in other] != [g.tolist() for g in groups]
    assert any(a > b for group in groups for a, b in pairwise(group))  # files are shuffled, not only groups
