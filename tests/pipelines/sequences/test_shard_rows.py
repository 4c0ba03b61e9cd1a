"""A shard's rows under every setting: defaults as they always were, the others exact and the same in number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.language import LANGUAGES
from pipelines.sequences.config import FimConfig, SequencesConfig
from pipelines.sequences.shard_rows import MIXED, ShardFiles, packed_rows
from pipelines.sequences.tokenizer import FIM, CodeTokenizer, load_tokenizer, train_tokenizer

SEQ = 64
FILES = [
    ("r1", "Python", "pkg/main.py", "from pkg import tool\nprint(tool.f(12))\n" * 3),
    ("r1", "Python", "pkg/tool.py", "def f(x):\n    return x + 1\n" * 2),
    ("r1", "C", "src/a.c", "int main() { return 0; }\n"),
    ("r2", "Python", "b.py", "x = [1, 2, 3]\n" * 30),
    ("r2", "Python", "c.py", ""),
    ("r3", "C", "d.c", "int x;\n" * 5),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> CodeTokenizer:
    texts = [text for *_, text in FILES] * 5
    return load_tokenizer(str(train_tokenizer(texts, 600, tmp_path_factory.mktemp("tokenizer"))))


def table() -> pa.Table:
    names = ("repo", "lang", "path", "text")
    columns = {name: [file[i] for file in FILES] for i, name in enumerate(names)}
    return pa.table(columns | {"row": pa.array([0, 2, 3, 4, 7, 9], pa.int32())})


def rows(made: CodeTokenizer, epoch: int = 0, **settings):
    cfg = SequencesConfig(seq_len=SEQ, **settings)
    return packed_rows(ShardFiles.read([table()], made, cfg), made, cfg, seed=5, epoch=epoch, shard=3)


def texts(packed, made: CodeTokenizer) -> list[str]:
    """The shard's training documents as text, in order; only for concatenated rows."""
    flat = np.concatenate([row[:n] for row, n in zip(packed.rows, packed.text_tokens, strict=True)])
    text = made.tokenizer.decode(flat.tolist(), skip_special_tokens=False)
    return text.split("<|endoftext|>")[:-1]


def test_defaults_are_the_rows_of_the_first_version(made) -> None:
    """Written as it was before there were settings: shuffle, group, join with separators, cut."""
    documents, ids = table(), made.encode(table()["text"].to_pylist())
    for epoch in (0, 1):
        rng = np.random.default_rng([5, epoch, 3])
        shuffled = rng.permutation(documents.num_rows)
        codes = [
            np.asarray(documents[name].combine_chunks().dictionary_encode().indices)
            for name in ("lang", "repo")
        ]
        group = codes[0].astype(np.int64) * (codes[1].max() + 1) + codes[1]
        by_group = shuffled[np.argsort(group[shuffled], kind="stable")]
        groups = np.split(by_group, np.flatnonzero(np.diff(group[by_group])) + 1)
        joined: list[int] = []
        starts = []
        for number in rng.permutation(len(groups)):
            starts.append(len(joined))
            for file in groups[number]:
                joined += [*ids[file].tolist(), made.file]
            joined[-1] = made.end
        packed, _ = rows(made, epoch)
        count = -(-len(joined) // SEQ)
        padded = joined + [made.end] * (count * SEQ - len(joined))
        assert packed.rows.tolist() == [padded[i * SEQ : (i + 1) * SEQ] for i in range(count)]
        found = [i * SEQ + int(start) for i, part in enumerate(packed.boundaries) for start in part]
        assert found == starts
    assert SequencesConfig(seq_len=SEQ, interleave=3).rows_depend_on() == {
        "seq_len": SEQ,
        "group": "language_repository",
    }


@pytest.mark.parametrize(("group", "documents"), [("language_repository", 4), ("repository", 3), ("file", 6)])
def test_arms_of_table_3(made, group: str, documents: int) -> None:
    packed, languages = rows(made, group=group)
    found = texts(packed, made)
    assert len(found) == documents
    files = sorted(text for document in found for text in document.split("<|file_sep|>"))
    assert files == sorted(text for *_, text in FILES)
    named = {int(number) for part in languages for number in part}
    python, c = LANGUAGES.index("Python"), LANGUAGES.index("C")
    assert named == ({python, c, MIXED} if group == "repository" else {python, c})


def test_imported_files_stand_first(made) -> None:
    for epoch in range(4):
        packed, _ = rows(made, epoch, files="dependency")
        (document,) = [text for text in texts(packed, made) if "def f(x)" in text]
        assert document.index("def f(x)") < document.index("from pkg import tool")


def test_names_stand_before_repositories_and_files(made) -> None:
    packed, _ = rows(made, repository_name=True, file_path=True)
    found = texts(packed, made)
    assert "<|repo_name|>r3<|file_sep|>d.c\n" + FILES[5][3] in found
    assert all(text.startswith("<|repo_name|>r") for text in found)
    assert sum(text.count("<|file_sep|>") for text in found) == len(FILES)
    some, _ = rows(made, repository_name=True, metadata_rate=0.5)
    assert 0 < sum(text.startswith("<|repo_name|>") for text in texts(some, made)) < 4


@pytest.mark.parametrize("unit", ["file", "document"])
@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_rearranged_texts_keep_inside_their_unit(made, unit: str, packing: str) -> None:
    fim = FimConfig(rate=1.0, unit=unit)
    counts = set()
    for epoch in range(3):
        packed, _ = rows(made, epoch, fim=fim, packing=packing, file_path=unit == "file")
        counts.add((len(packed.rows), int(packed.text_tokens.sum())))
    assert len(counts) == 1  # a position is found by counting: every epoch has as many rows
    packed, _ = rows(made, fim=fim, file_path=unit == "file")
    prefix, middle, suffix = made.special(*FIM)
    for document in texts(packed, made):
        parts = document.split("<|file_sep|>") if unit == "file" else [document]
        for part in parts:
            assert part.count(FIM[0]) == part.count(FIM[1]) == part.count(FIM[2]) <= 1
        if unit == "file":  # paths stay in front
            assert all("\n" in part for part in parts)
    assert (packed.rows == prefix).sum() >= 2
    assert (packed.rows == prefix).sum() == (packed.rows == middle).sum() == (packed.rows == suffix).sum()


def test_each_setting_that_changes_rows_changes_what_they_depend_on() -> None:
    base = SequencesConfig().rows_depend_on()
    changes = [
        {"group": "file"},
        {"files": "dependency"},
        {"packing": "best_fit"},
        {"repository_name": True},
        {"file_path": True},
        {"fim": {"rate": 0.5}},
        {"fim": {"rate": 0.5, "unit": "document"}},
        {"file_path": True, "metadata_rate": 0.5},
        {"seq_len": 4096},
    ]
    found = [str(SequencesConfig(**change).rows_depend_on()) for change in changes]
    assert len({str(base), *found}) == len(changes) + 1
    # Without what they qualify, these change nothing.
    assert SequencesConfig(fim={"spm_rate": 0.1}, metadata_rate=0.5, deal_batches=2).rows_depend_on() == base


def test_a_shard_without_documents(made) -> None:
    cfg = SequencesConfig(
        seq_len=SEQ, packing="best_fit", fim={"rate": 0.5, "unit": "document"}, file_path=True
    )
    files = ShardFiles.read([table().slice(0, 0)], made, cfg)
    packed, languages = packed_rows(files, made, cfg, seed=0, epoch=0, shard=0)
    assert packed.rows.shape == (0, SEQ)
    assert languages == []


@pytest.mark.parametrize("split", ["words", "code"])
def test_both_splits_lose_nothing(tmp_path, split: str) -> None:
    samples = [text for *_, text in FILES] + ["naïve = 'é'\r\n\r\n\t\tx=1  \n  ", "  leading", "", "\n\n"]
    tokenizer = CodeTokenizer(train_tokenizer(samples, 600, tmp_path, split))
    found = tokenizer.encode(samples)
    assert [tokenizer.tokenizer.decode(ids.tolist()) for ids in found] == samples
