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
    split: Literal["words", "code"] = "words"
    """What a token may span (ours). `words`: GPT-2's split, digits one by one. `code`: also a word with the dot,
    bracket or underscore before it, and a line's end with the indentation of the next line."""


class FimConfig(Config):
    """Fill in the middle (arXiv 2207.14255). The paper does not mention it: off by default."""

    rate: float = Field(0.0, ge=0, le=1)
    """Share of texts that are rearranged. 0.5 in StarCoder2 and DeepSeek-Coder."""
    spm_rate: float = Field(0.5, ge=0, le=1)
    """Share of those that come as suffix, prefix, middle; the others as prefix, suffix, middle."""
    unit: Literal["file", "document"] = "file"
    """What is cut in three: each file, or each training document as a whole. Never more than that."""


class SequencesConfig(Config):
    seq_len: int = Field(8192, ge=16)
    """Tokens in a row (paper Table 1)."""
    group: Literal["language_repository", "repository", "file"] = "language_repository"
    """A training document: one repository's files in one language (paper 2.2, adopted in Table 3), all of a
    repository's files (Table 3's other arm), or each file alone."""
    files: Literal["random", "dependency"] = "random"
    """Order of the files in a training document: seeded random (paper 2.2), or imported files before those that
    import them (after DeepSeek-Coder, arXiv 2401.14196; `pipelines.sequences.dependency`)."""
    max_split_repositories: float = Field(0.05, ge=0, le=1)
    """Largest share of repositories that may lie in several shards: grouping sees one shard at a time (ours)."""
    repository_name: bool = False
    """Training documents begin with the repository's name (ours; as in StarCoder2)."""
    file_path: bool = False
    """Files begin with a line that has their path (ours; as in StarCoder2)."""
    metadata_rate: float = Field(1.0, ge=0, le=1)
    """Share of training documents that have what the two settings above ask for. StarCoder2: 0.5."""
    packing: Literal["concatenate", "best_fit"] = "concatenate"
    """`concatenate`: end to end, cut wherever a row ends, padding only in a shard's last row. `best_fit`: whole
    documents into rows (arXiv 2404.10830), padded; only documents longer than a row are cut."""
    fim: FimConfig = FimConfig()
    interleave: int = Field(64, ge=1)
    """Open shards whose sequences take turns, so that a global batch is diverse (ours). A restart replays these."""
    deal_batches: int = Field(8, ge=1)
    """Global batches dealt in one go: large blocks keep the split coordinator small (ours)."""

    def rows_depend_on(self) -> dict[str, object]:
        """What decides a shard's rows, without settings at their defaults: new settings rename no old sequences."""
        rows = self.model_dump(mode="json", exclude_defaults=True)
        for other in ("interleave", "deal_batches", "max_split_repositories", "seq_len", "group"):
            rows.pop(other, None)
        if not self.fim.rate:
            rows.pop("fim", None)
        if not (self.repository_name or self.file_path):
            rows.pop("metadata_rate", None)
        return {"seq_len": self.seq_len, "group": self.group, **rows}
