"""`snowcoder plan`: the numbers of a configuration, put into the plan's formulas."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pipelines.manifest import build_manifest
from pipelines.sequences.split_repositories import check_grouping, split_repositories
from pipelines.sources import shard_repositories
from snowcoder.config import RunConfig
from snowcoder.plan import PlanInput, make_plan
from snowcoder.plan_table import render


def plan_input(config: RunConfig) -> PlanInput:
    """What `plan` computes from. Machines and measured speeds keep the plan's own, documented defaults."""
    model, corpus, train = config.train.model, config.corpus, config.train
    continued = config.continued
    return PlanInput(
        unique_tokens={
            "general": float(corpus.unique_tokens),
            "continued": continued.tokens / continued.repeats,
            "enhanced": float(corpus.synthetic_tokens),
        },
        tokens={
            "general": float(config.general.tokens),
            "continued": float(continued.tokens),
            "enhanced": float(config.enhanced.tokens),
        },
        raw_bytes=float(corpus.raw_bytes),
        kept_fraction=corpus.unique_tokens * corpus.bytes_per_token / corpus.raw_bytes,
        bytes_per_token=corpus.bytes_per_token,
        mean_document_bytes=corpus.raw_bytes / corpus.documents,
        hidden=model.hidden,
        ffn_hidden=model.ffn,
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.kv_heads or model.heads,
        vocab=model.vocab,
        tied_embeddings=model.tie_embeddings,
        seq_len=config.sequences.seq_len,
        global_batch=train.global_batch,
        micro_batch=train.micro_batch,
        train_gpus=train.num_workers,
        shard_bytes=float(config.source.shard_bytes),
        interleaved_shards=config.sequences.interleave,
        dedup_bands=config.curation.dedup.bands,
        dedup_bins=config.curation.dedup.bins,
        checkpoints_kept=train.keep_checkpoints,
        best_fit=config.sequences.packing == "best_fit",
        gpu=config.cost.gpu,
        mfu=config.cost.mfu,
        train_tokens_per_second=config.cost.tokens_per_second,
        dollars_per_gpu_hour=config.cost.dollars_per_gpu_hour,
        sources={"train_gpus": "train.num_workers", "kept_fraction": "corpus.* of the recipe"},
    )


def check_source(config: RunConfig) -> str:
    """What the source's order gives `sequences.group`, in a line. Opens nothing that is not on this machine.

    Raises UserError when the order cannot give the training documents that are asked for.
    """
    source = config.source
    if config.sequences.group == "file":
        return "sequences.group: file: any order of the source gives these training documents"
    if source.kind == "jsonl" or any("://" in path or not Path(path).exists() for path in source.paths):
        return f"sequences.group: {config.sequences.group}: not checked, the source cannot be looked at from here"
    manifest = build_manifest(source, config.seed)
    found = split_repositories(manifest.shards, lambda shard: shard_repositories(shard, source))
    check_grouping(config.sequences, found)
    return (
        f"sequences.group: {config.sequences.group}: {found.share:.1%} of {found.repositories:,} repositories lie in "
        f"several shards ({found.shards:,} shards looked at)"
    )


def print_plan(config: RunConfig) -> None:
    # A pipe has no width; the tables need 120 columns to show every figure.
    grouping = check_source(config)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(
        render(make_plan(plan_input(config))), grouping
    )
