"""What all three phases share: the corpus in its judging order, and how its documents become sequences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.curation import Curation, kept_documents
from pipelines.packing import Documents, Packing
from pipelines.schema import Shard, stable_hash
from pipelines.sequences.config import SequencesConfig, TokenizerConfig
from pipelines.sequences.history import check_history
from pipelines.sequences.order import Order, seek
from pipelines.sequences.tokenizer import CodeTokenizer, sample, save_tokenizer, train_tokenizer
from pipelines.stream import Plan, Resources, verdict_stream
from snowcoder.base import UserError
from snowcoder.files import write_atomically

RATIO_SAMPLE = 64 << 20  # bytes on which tokens per byte are measured


@dataclass(frozen=True)
class Corpus:
    """A run's source, its curation, and the run directory they write into."""

    root: Path
    shards: tuple[Shard, ...]
    curation: Curation
    sequences: SequencesConfig
    resources: Resources
    seed: int
    held_out: int = 0  # shards at the front of the judging order that no phase trains on

    @property
    def ledger_root(self) -> str:
        return self.curation.ledger_root

    @property
    def tokenizer(self) -> Path:
        return self.root / "tokenizer"

    def order(self, epochs: int) -> Order:
        judged_before = self.curation.dedup.order == "preferred"
        trained = self.shards[self.held_out :]
        return Order(tuple(shard.shard for shard in trained), epochs, self.seed, judged_before)

    def packing(self, phase: str, documents: Documents) -> Packing:
        return Packing(phase, documents, self.sequences, str(self.tokenizer), self.seed, self.ledger_root)


def curate(corpus: Corpus, shards: tuple[Shard, ...] | None = None) -> Iterator[int]:
    """Judge shards in order, without training on them. Yields shard numbers as their verdicts are committed."""
    for row in verdict_stream(shards or corpus.shards, corpus.curation, None, corpus.resources):
        yield row["shard"]


def make_tokenizer(corpus: Corpus, config: TokenizerConfig) -> Path:
    """The run's tokenizer: the given one, or one trained on the first kept documents of the order.

    Also measures bytes per token by language, by which documents are sized where they are not tokenised.
    """
    out = corpus.tokenizer
    if (out / "bytes_per_token.json").exists():
        return out
    first = _first_shards(corpus, 2 * config.sample_bytes)
    for _ in curate(corpus, first):
        pass

    def texts(limit: int) -> Iterator[tuple[str, str]]:
        return sample((t for shard in first for t in kept_documents(shard, corpus.curation)), limit)

    if config.path:
        given = CodeTokenizer(config.path)
        save_tokenizer(given.tokenizer, out)
    else:
        sampled = (text for _, text in texts(config.sample_bytes))
        train_tokenizer(sampled, config.vocab_size, out, config.split)
    ratios = _bytes_per_token(CodeTokenizer(out), texts(min(config.sample_bytes, RATIO_SAMPLE)))
    write_atomically(out / "bytes_per_token.json", json.dumps(ratios, indent=1).encode())
    return out


def bytes_per_token(corpus: Corpus) -> dict[str, float]:
    """By language; "" is the mean over all."""
    return json.loads((corpus.tokenizer / "bytes_per_token.json").read_text())


def _first_shards(corpus: Corpus, size: int) -> tuple[Shard, ...]:
    """The front of the order that holds `size` bytes of raw text, or all of it."""
    total = 0
    for i, shard in enumerate(corpus.shards):
        total += shard.bytes
        if total >= size:
            return corpus.shards[: i + 1]
    return corpus.shards


def _bytes_per_token(tokenizer: CodeTokenizer, texts: Iterator[tuple[str, str]]) -> dict[str, float]:
    sizes: dict[str, list[int]] = {}
    while part := list(islice(texts, 256)):
        for (lang, text), ids in zip(part, tokenizer.encode([text for _, text in part]), strict=True):
            for name in (lang, ""):
                entry = sizes.setdefault(name, [0, 0])
                entry[0] += len(text.encode())
                entry[1] += len(ids)
    return {name: bytes_ / max(tokens, 1) for name, (bytes_, tokens) in sorted(sizes.items())}


def position_fingerprint(plan: Plan, global_batch: int) -> dict[str, str]:
    """What a position in a phase's order depends on, by name: another fingerprint means another order.

    The number of epochs is no part of it: more of them only make the order longer.
    """
    order, packing = plan.order, plan.packing
    return {
        "shards": stable_hash([packing.identity(plan.shard(number)) for number in order.shards]),
        "curation": plan.curation.claim_stage.key if plan.curation else "",
        "sequences": packing.stage.key,
        "seed": f"{order.seed}{' from the first epoch on' if order.shuffled else ''}",
        "interleave": str(packing.sequences.interleave),
        "global_batch": str(global_batch),
    }


def check_position(plan: Plan, global_batch: int, position: int, phase_dir: Path, accept: bool) -> None:
    """Raises UserError when the shards before the position are not those that were trained on."""

    def recorded(number: int, what: str) -> Any:
        meta = plan.packing.recorded(plan.shard(number))
        return None if meta is None else meta[what]

    window = plan.packing.sequences.interleave
    try:
        found = seek(plan.order, window, position, global_batch, lambda number: recorded(number, "sequences"))
    except ValueError as error:
        raise UserError(
            f"{phase_dir}: position {position} cannot be found: {error}; "
            "restore the ledger or start a new run directory"
        ) from error
    check_history(phase_dir, plan.order, found, lambda number: recorded(number, "content"), accept)
