"""A shard's documents as packed rows: tokenise, rearrange, join, pack. Everything but the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipelines.language import LANGUAGES
from pipelines.schema import ordinal
from pipelines.sequences.config import SequencesConfig
from pipelines.sequences.dependency import File, dependency_order, file_of
from pipelines.sequences.fim import draws, fill_in_the_middle
from pipelines.sequences.group import training_documents
from pipelines.sequences.join import Ragged, join
from pipelines.sequences.pack import Packed, concatenated, fitted
from pipelines.sequences.tokenizer import FIM, CodeTokenizer

UNKNOWN = -1  # language of a document that has none, or one without a number
MIXED = -2  # of a training document with files in several
_NUMBERS = {name: number for number, name in enumerate(LANGUAGES)}
_NAME_DRAWS = 2  # beside those of FIM, which are 0 and 1


@dataclass
class ShardFiles:
    """A shard's files, tokenised: what is the same in every epoch."""

    ids: list[np.ndarray] = field(default_factory=list)  # int32 tokens of each file
    repo: list[str] = field(default_factory=list)
    lang: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    row: list[int] = field(default_factory=list)  # place in the shard, kept or not
    files: list[File] = field(default_factory=list)  # where their imports are asked for

    @classmethod
    def read(cls, tables: Iterable[pa.Table], tokenizer: CodeTokenizer, cfg: SequencesConfig) -> ShardFiles:
        """Tables with `repo`, `lang` and `text`; `path` and `row` where settings need them."""
        made = cls()
        for table in tables:
            texts = table["text"].to_pylist()
            made.ids += tokenizer.encode(texts)
            count, columns = table.num_rows, table.column_names
            first = len(made.repo)
            made.repo += table["repo"].to_pylist()
            made.lang += table["lang"].to_pylist()
            made.path += table["path"].to_pylist() if "path" in columns else [""] * count
            made.row += table["row"].to_pylist() if "row" in columns else range(first, first + count)
            if cfg.files == "dependency":
                names = zip(made.path[first:], made.lang[first:], texts, strict=True)
                made.files += [file_of(path or "", lang or "", text) for path, lang, text in names]
        return made


def packed_rows(
    files: ShardFiles, tokenizer: CodeTokenizer, cfg: SequencesConfig, *, seed: int, epoch: int, shard: int
) -> tuple[Packed, list[np.ndarray]]:
    """The shard's rows in one epoch, and the languages (int16) of the training documents in each row.

    The number of rows, their tokens and their padding are the same in every epoch: only order and cuts change.
    """
    table = pa.table({"repo": pa.array(files.repo, pa.string()), "lang": pa.array(files.lang, pa.string())})
    groups = training_documents(table, [seed, epoch, shard], cfg.group)
    if cfg.files == "dependency":
        groups = [group[dependency_order([files.files[i] for i in group.tolist()])] for group in groups]
    ids = np.asarray(ordinal(shard, np.asarray(files.row, np.int64)))
    texts = Ragged.of(files.ids)
    # A training document is known by its first file in the shard, whatever order the epoch gives its files.
    known_by = np.array([ids[group].min() for group in groups], np.int64)
    if cfg.fim.unit == "file":
        texts = _in_the_middle(texts, ids, tokenizer, cfg, seed, epoch)
    named = draws([seed, _NAME_DRAWS], known_by)[:, 0] < cfg.metadata_rate
    names = _paths(files, groups, named, tokenizer) if cfg.file_path else None
    heads = _repositories(files, groups, named, tokenizer) if cfg.repository_name else None
    if cfg.fim.unit == "document":
        # The end comes after the middle: it ends the training document, not its suffix.
        bodies = join(texts, groups, tokenizer.file, tokenizer.end, names)
        offsets = bodies.offsets - np.arange(len(bodies.offsets))
        ends = bodies.offsets[1:] - 1
        bodies = Ragged(np.delete(bodies.tokens, ends), offsets)
        bodies = _in_the_middle(bodies, known_by, tokenizer, cfg, seed, epoch)
        alone = list(np.arange(len(groups))[:, None])
        joined = join(bodies, alone, tokenizer.file, tokenizer.end, None, heads)
    else:
        joined = join(texts, groups, tokenizer.file, tokenizer.end, names, heads)
    if cfg.packing == "best_fit":
        packed = fitted(joined, cfg.seq_len, tokenizer.end, [seed, epoch, shard])
    else:
        packed = concatenated(joined, cfg.seq_len, tokenizer.end)
    language = _languages(files.lang, groups)
    return packed, [language[inside] for inside in packed.documents]


def _in_the_middle(
    texts: Ragged, ids: np.ndarray, tokenizer: CodeTokenizer, cfg: SequencesConfig, seed: int, epoch: int
) -> Ragged:
    if not cfg.fim.rate:
        return texts
    tokens, offsets = fill_in_the_middle(
        texts.tokens,
        texts.offsets,
        ids,
        rate=cfg.fim.rate,
        spm_rate=cfg.fim.spm_rate,
        seed=[seed],
        epoch=epoch,
        sentinels=tokenizer.special(*FIM),
        longest=cfg.seq_len,
    )
    return Ragged(tokens, offsets)


def _paths(
    files: ShardFiles, groups: list[np.ndarray], named: np.ndarray, tokenizer: CodeTokenizer
) -> Ragged:
    """A line with its path before each file of the training documents that are named."""
    lines = [f"{path}\n" if path else "" for path in files.path]
    for group, wanted in zip(groups, named, strict=True):
        if not wanted:
            for file in group.tolist():
                lines[file] = ""
    return Ragged.of(tokenizer.encode(lines))


def _repositories(
    files: ShardFiles, groups: list[np.ndarray], named: np.ndarray, tokenizer: CodeTokenizer
) -> Ragged:
    """`<|repo_name|>NAME<|file_sep|>` before the training documents that are named and have one."""
    names = [
        files.repo[group[0]] if wanted and len(group) else ""
        for group, wanted in zip(groups, named, strict=True)
    ]
    (start,) = tokenizer.special("<|repo_name|>")
    heads = [
        np.concatenate([[start], ids, [tokenizer.file]]).astype(np.int32) if name else ids
        for name, ids in zip(names, tokenizer.encode(names), strict=True)
    ]
    return Ragged.of(heads)


def _languages(lang: list[str], groups: list[np.ndarray]) -> np.ndarray:
    """int16 [groups]: number of the language in `LANGUAGES`, UNKNOWN or MIXED."""
    number = np.array([_NUMBERS.get(name, UNKNOWN) for name in lang], np.int16)
    found = [number[group] for group in groups]
    return np.array([part[0] if (part == part[0]).all() else MIXED for part in found], np.int16)
