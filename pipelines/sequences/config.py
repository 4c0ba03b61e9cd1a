"""Settings of the way from kept documents to packed training rows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from snowcoder.base import Config


class TokenizerConfig(Config):
    path: str = ""
    """Directory of an existing Hugging Face tokenizer. Empty: train one on a sample of the kept documents."""
    vocab_size: int = Field(64_000, ge=512)
    """Entries, special tokens included (paper Table 1: 64,000; its type is not published, byte-level BPE is ours)."""
    sample_bytes: int = Field(2 << 30, ge=1 << 16)
    """Bytes of kept text that the tokenizer is trained on, taken from the first shards of the order (ours)."""


class SequencesConfig(Config):
    seq_len: int = Field(8192, ge=16)
    """Tokens in a row (paper Table 1)."""
    group: Literal["language_repository"] = "language_repository"
    """A training document is one repository's files in one language, in seeded random order (paper 2.2, Table 3)."""
    interleave: int = Field(64, ge=1)
    """Open shards whose sequences take turns, so that a global batch is diverse (ours). A restart replays these."""
    deal_batches: int = Field(8, ge=1)
    """Global batches dealt in one go: large blocks keep the split coordinator small (ours)."""
