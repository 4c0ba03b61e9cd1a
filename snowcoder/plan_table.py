"""A plan as tables for a terminal: phases, the whole run, and every number that went in with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snowcoder.plan import Plan, PlanInput, flops_per_token, padding_share, sustained_flops

if TYPE_CHECKING:
    from rich.console import RenderableType

GIB = 2.0**30


def render(plan: Plan) -> RenderableType:
    """All tables and warnings, for `rich.print`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    phases = Table(title="Phases", title_justify="left")
    for heading in ("phase", "tokens", "steps", "epochs", "FLOPs", "hours", "GPU-hours", "$", "cores"):
        phases.add_column(heading, justify="left" if heading == "phase" else "right", no_wrap=True)
    phases.add_column("bottleneck")
    for p in plan.phases:
        work = (f"{p.tokens:.3g}", f"{p.steps:,}", f"{p.epochs:.2f}", f"{p.flops:.2e}", f"{p.hours:,.1f}")
        spent = (f"{p.gpu_hours:,.0f}", f"{p.dollars:,.0f}", f"{p.cpu_cores:,.1f}")
        phases.add_row(p.name, *work, *spent, p.bottleneck)
    figures = Table("what", "value", "how", title="Whole run", title_justify="left")
    for row in summary(plan):
        figures.add_row(*row)
    inputs = Table("input", "value", "source", title="Computed from", title_justify="left")
    for name in PlanInput.__dataclass_fields__:
        if name != "sources":
            inputs.add_row(name, _show(getattr(plan.given, name)), plan.given.source(name))
    return Group(phases, figures, inputs, *(Text(f"! {line}", style="yellow") for line in plan.warnings))


def summary(plan: Plan) -> list[tuple[str, str, str]]:
    """(what, value, how it is computed) of the figures that belong to no single phase."""
    given = plan.given
    zero = ", ".join(f"ZeRO-{stage} {size / GIB:.1f}" for stage, size in plan.state_bytes.items())
    index = ", ".join(f"{part} {size / GIB:.1f}" for part, size in plan.dedup_bytes.items())
    share = plan.ledger_bytes / given.raw_bytes
    n = plan.parameters
    hours, dollars = sum(p.hours for p in plan.phases), sum(p.dollars for p in plan.phases)
    speed = sustained_flops(given) / sum(flops_per_token(given))
    padding = padding_share(given)
    return [
        (
            "training, all phases",
            f"{hours / 24:,.1f} days on {given.train_gpus} GPUs, ${dollars:,.0f}",
            f"{speed:,.0f} tokens/s and ${given.dollars_per_gpu_hour:.2f} an hour a GPU, both assumed unless set",
        ),
        ("parameters", f"{n.total / 1e9:.3f} B, {n.non_embedding / 1e9:.3f} B without embedding", "model"),
        (
            "compute, 6ND alone",
            f"{plan.flops_6nd:.2e} FLOPs, {plan.gpu_hours_6nd:,.0f} GPU-hours",
            "no attention",
        ),
        ("GPU memory, state", f"{zero} GiB", "2 + 6 + 12 bytes a parameter"),
        ("GPU memory, activations", f"{plan.activation_bytes / GIB:.1f} GiB", "no recomputation"),
        (
            "duplicate index",
            f"{sum(plan.dedup_bytes.values()) / GIB:,.1f} GiB ({index})",
            "over kept documents",
        ),
        (
            "verdict ledger",
            f"{plan.ledger_bytes / 1e9:,.2f} GB, {share:.2%} of the raw bytes",
            "all documents read",
        ),
        (
            "interleave window",
            f"{plan.window_bytes / GIB:.1f} GiB",
            "tokens of the open shards, 4 bytes each",
        ),
        (
            "padding in rows",
            "known once packed" if padding is None else f"{padding:.2%}",
            "best fit" if padding is None else "half a row a shard",
        ),
        ("score histograms", f"{65_536 * 8 * given.languages / 1e6:.1f} MB", "65,536 bins a language"),
        ("checkpoints", f"{plan.checkpoint_bytes / 1e9:,.1f} GB", "14 bytes a parameter, and bf16 models"),
        ("scoring everything kept", f"{plan.annotator_hours:,.1f} h", f"{given.annotator_gpus} GPUs"),
        ("generating", f"{plan.generator_hours:,.1f} h", f"{given.generator_gpus} GPUs"),
    ]


def _show(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,.4g}" for name, number in value.items())
    return f"{value:,.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
