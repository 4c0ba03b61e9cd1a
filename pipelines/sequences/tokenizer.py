"""The tokenizer: byte-level BPE trained on a sample of the stream, and batched encoding of documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from snowcoder.base import UserError
from snowcoder.files import write_atomically

END = "<|endoftext|>"  # after every training document
FILE = "<|file_sep|>"  # between the files of one training document
BATCH_CHARACTERS = 1 << 16  # encoded in one call
FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
SPECIAL = (
    END,
    FILE,
    "<|repo_name|>",
    *FIM,
    "<|fim_pad|>",
    "<|pad|>",
)
# Names of the same tokens in vocabularies that a model comes with (StarCoder2; Qwen2.5-Coder has ours).
OTHER_NAMES = {
    FILE: ("<file_sep>",),
    "<|repo_name|>": ("<repo_name>",),
    "<|fim_prefix|>": ("<fim_prefix>",),
    "<|fim_middle|>": ("<fim_middle>",),
    "<|fim_suffix|>": ("<fim_suffix>",),
}
# What one token may span, in order: the end of a line with the blank lines and the indentation after it; a word with
# one sign before it; a digit; signs with the space before and the line's end after them; other white space.
CODE_SPLIT = r"(?:\r?\n)+[ \t]*|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|[ \t]+(?=\S)|\s+"


def train_tokenizer(texts: Iterable[str], vocab_size: int, out: Path, split: str = "words") -> Path:
    """Train byte-level BPE on `texts` and write a Hugging Face tokenizer directory.

    Digits are split one by one and white space runs stay whole, as is usual for code; no text is lost or changed
    by encoding and decoding. `split` is `TokenizerConfig.split`.
    """
    tokenizer = Tokenizer(models.BPE())
    if split == "code":
        parts = [
            pre_tokenizers.Split(Regex(CODE_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        parts = [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=64,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # A vocabulary smaller than asked for (tiny corpora) would leave embedding rows that nothing ever trains;
    # the model takes its size from what was really learnt.
    return save_tokenizer(tokenizer, out)


def save_tokenizer(tokenizer: Tokenizer, out: Path) -> Path:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "bos_token": END,
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
    }
    write_atomically(out / "tokenizer_config.json", json.dumps(config, indent=1).encode())
    write_atomically(out / "tokenizer.json", tokenizer.to_str(pretty=False).encode())
    return out


class CodeTokenizer:
    """A Hugging Face `tokenizer.json` with the two separators that packing needs."""

    def __init__(self, directory: str | Path):
        path = Path(directory) / "tokenizer.json"
        if not path.exists():
            raise UserError(
                f"{path}: no tokenizer there; set tokenizer.path to a directory with a tokenizer.json"
            )
        raw = path.read_bytes()
        self.fingerprint = f"{mmh3.hash128(raw, signed=False):032x}"
        self.path = path
        self.tokenizer = Tokenizer.from_str(raw.decode())
        self.vocab_size = self.tokenizer.get_vocab_size()
        (self.end,) = self.special(END)
        file = self._find(FILE)
        self.file = self.end if file is None else file

    def special(self, *tokens: str) -> tuple[int, ...]:
        """Ids of special tokens, under our names or another vocabulary's. Raises UserError where one is missing."""
        found = [self._find(token) for token in tokens]
        if None in found:
            purpose = "ends a document" if tokens == (END,) else "these sequences need"
            missing = tokens[found.index(None)]
            raise UserError(f"{self.path}: has no token {missing}, which {purpose}; use another tokenizer")
        return tuple(number for number in found if number is not None)

    def _find(self, token: str) -> int | None:
        for name in (token, *OTHER_NAMES.get(token, ())):
            if (found := self.tokenizer.token_to_id(name)) is not None:
                return found
        return None

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """Token ids (int32) of each text, without separators.

        The library keeps some 75 bytes beside each id until it is let go, so texts go in by parts that stay in cache.
        """
        ids: list[np.ndarray] = []
        for part in _parts(texts, BATCH_CHARACTERS):
            encodings = self.tokenizer.encode_batch_fast(part, add_special_tokens=False)
            ids += [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
        return ids


def _parts(texts: list[str], limit: int) -> Iterator[list[str]]:
    """Texts in runs of at least `limit` characters, the last one perhaps of fewer."""
    start = size = 0
    for end, text in enumerate(texts, 1):
        size += len(text)
        if size >= limit or end == len(texts):
            yield texts[start:end]
            start, size = end, 0


@lru_cache(maxsize=2)
def load_tokenizer(directory: str) -> CodeTokenizer:
    """A worker process opens a tokenizer once, however many shards it packs."""
    return CodeTokenizer(directory)


def sample(tables: Iterable[pa.Table], limit: int) -> Iterator[tuple[str, str]]:
    """(language, text) of document tables until `limit` characters have been given."""
    given = 0
    for table in tables:
        for lang, text in zip(table["lang"].to_pylist(), table["text"].to_pylist(), strict=True):
            given += len(text)
            yield lang, text
            if given >= limit:
                return
