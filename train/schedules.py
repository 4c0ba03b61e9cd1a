"""Learning rates as pure functions of the tokens consumed, so that they survive a change of batch size.

A schedule is evaluated at the *middle* of a step's tokens (`learning_rate`): then neither the first step of a
warm-up from 0 nor the last of a decay to 0 is spent at a rate of exactly 0.
"""

from __future__ import annotations

import math

from snowcoder.base import UserError
from train.config import ScheduleConfig


def warmup(tokens: float, warmup_tokens: int) -> float:
    """Factor of the linear rise from 0 to 1; 1 from `warmup_tokens` on."""
    return min(1.0, tokens / warmup_tokens) if warmup_tokens else 1.0


def cosine(tokens: float, total: int, warmup_tokens: int, peak: float, end: float) -> float:
    """Linear rise, then half a cosine from `peak` to `end` at `total`. The paper's phase 1."""
    if tokens < warmup_tokens:
        return peak * warmup(tokens, warmup_tokens)
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * _progress(tokens, total, warmup_tokens)))


def linear(tokens: float, total: int, warmup_tokens: int, peak: float, end: float) -> float:
    """Linear rise, then a line from `peak` to `end` at `total`. The paper's phase 2 ("re-warm-up")."""
    if tokens < warmup_tokens:
        return peak * warmup(tokens, warmup_tokens)
    return peak + (end - peak) * _progress(tokens, total, warmup_tokens)


def constant(tokens: float, warmup_tokens: int, peak: float) -> float:
    """Linear rise, then `peak` for ever. An arm of the paper's Table 5."""
    return peak * warmup(tokens, warmup_tokens)


def wsd(tokens: float, total: int, warmup_tokens: int, decay_tokens: int, peak: float, end: float) -> float:
    """Warm-up, stable, decay (MiniCPM): `peak` up to `decay_tokens` before `total`, then a line to `end`."""
    start = total - decay_tokens
    if tokens < start or not decay_tokens:
        return constant(tokens, warmup_tokens, peak)
    return peak + (end - peak) * _progress(tokens, total, start)


def at(tokens: float, total: int, cfg: ScheduleConfig) -> float:
    """Learning rate after `tokens` of a run of `total` tokens."""
    if cfg.kind == "cosine":
        return cosine(tokens, total, cfg.warmup_tokens, cfg.peak_lr, cfg.end_lr)
    if cfg.kind == "linear":
        return linear(tokens, total, cfg.warmup_tokens, cfg.peak_lr, cfg.end_lr)
    if cfg.kind == "constant":
        return constant(tokens, cfg.warmup_tokens, cfg.peak_lr)
    return wsd(tokens, total, cfg.warmup_tokens, cfg.decay_tokens, cfg.peak_lr, cfg.end_lr)


def learning_rate(step: int, total_steps: int, tokens_per_step: int, cfg: ScheduleConfig) -> float:
    """Learning rate of global batch `step` (from 0), evaluated at the middle of its tokens."""
    return at((step + 0.5) * tokens_per_step, total_steps * tokens_per_step, cfg)


def check(total_tokens: int, cfg: ScheduleConfig) -> None:
    """Raises UserError when warm-up and decay do not fit the run."""
    needed = cfg.warmup_tokens + (cfg.decay_tokens if cfg.kind == "wsd" else 0)
    if cfg.kind != "constant" and needed > total_tokens:
        raise UserError(
            f"train.schedule: warm-up and decay take {needed:,} tokens but the phase has {total_tokens:,}; "
            "lower schedule.warmup_tokens / decay_tokens or train longer"
        )


def _progress(tokens: float, total: int, start: int) -> float:
    return min(1.0, (tokens - start) / (total - start)) if total > start else 1.0
