"""The report's charts, as SVG text to stand inside an HTML page.

Colours are written as CSS variables of the page, so one drawing serves light and dark. Text stays text
(`<text>`), set in the page's own font, and is escaped by the SVG writer.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib wants real colours; these stand for the page's variables and are replaced in the SVG.
_INK, _GRID, _ACCENT, _SECOND, _MUTED = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {_INK: "--ink-2", _GRID: "--line", _ACCENT: "--accent", _SECOND: "--second", _MUTED: "--muted"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in a name is a dollar
    "font.size": 10,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_POINTS = 400  # a curve is thinned to this many points: more cannot be seen at this size


@dataclass(frozen=True)
class Curve:
    """One phase's training record, one value per optimizer step, all float64 of one length."""

    name: str
    tokens: np.ndarray
    loss: np.ndarray
    lr: np.ndarray
    tokens_per_second: np.ndarray
    data_wait_share: np.ndarray


def loss_chart(curves: Sequence[Curve]) -> str:
    """Loss over the phase's tokens, the learning rate below. Two curves may share axes."""
    with _figure("loss" + curves[0].name, 3.6, 2.9, ratios=(3, 1)) as (figure, (above, below)):
        for curve, colour, style in zip(curves, (_ACCENT, _SECOND), ("-", "--"), strict=False):
            x, loss, smooth, lr = _thinned(curve.tokens, curve.loss, _smooth(curve.loss), curve.lr)
            above.plot(x, loss, color=colour, linewidth=0.7, alpha=0.3)
            above.plot(x, smooth, color=colour, linewidth=1.7, linestyle=style, label=curve.name)
            below.plot(x, lr, color=colour, linewidth=1.3, linestyle=style)
        above.set_ylabel("loss")
        below.set_ylabel("LR")
        below.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        below.set_ylim(bottom=0)
        _token_axis(below)
        if len(curves) > 1:
            above.legend(frameon=False, loc="upper right")
        return _svg(figure)


def throughput_chart(curves: Sequence[Curve]) -> str:
    """Tokens per second over tokens; below, the share of a step in which the optimizer waited for data."""
    with _figure("speed" + curves[0].name, 3.6, 2.4, ratios=(2, 1)) as (figure, (above, below)):
        for curve, colour, style in zip(curves, (_ACCENT, _SECOND), ("-", "--"), strict=False):
            x, speed, wait = _thinned(curve.tokens, curve.tokens_per_second, 100 * curve.data_wait_share)
            above.plot(x, speed, color=colour, linewidth=1.3, linestyle=style, label=curve.name)
            below.plot(x, wait, color=colour, linewidth=1.3, linestyle=style)
        above.set_ylim(bottom=0)
        above.yaxis.set_major_formatter(lambda value, _: short(value))
        above.set_ylabel("tokens/s")
        below.set_ylim(0, max(10.0, below.get_ylim()[1]))
        below.set_ylabel("wait, %")
        _token_axis(below)
        if len(curves) > 1:
            above.legend(frameon=False, loc="lower right")
        return _svg(figure)


def score_chart(language: str, edges: np.ndarray, tokens: np.ndarray, threshold: float) -> str:
    """Tokens by score, log scale, in colour from the threshold on. `edges` is one longer than `tokens`."""
    with _figure("score" + language, 3.4, 1.9) as (figure, axes):
        (only,) = axes
        edges, tokens = _rebinned(edges, tokens, 64)
        kept = edges[:-1] >= threshold
        width = np.diff(edges)
        for part, colour in ((~kept, _MUTED), (kept, _ACCENT)):
            only.bar(edges[:-1][part], tokens[part], width[part], align="edge", color=colour, linewidth=0)
        if threshold <= edges[-1]:  # else nothing is selected
            only.axvline(threshold, color=_INK, linewidth=1, linestyle=(0, (3, 2)))
        only.set_yscale("log")
        only.yaxis.set_major_formatter(lambda value, _: short(value))
        only.yaxis.set_minor_locator(_null_locator())
        only.set_ylabel("tokens")
        return _svg(figure)


def short(value: float) -> str:
    """4190000 -> "4.19M": three significant digits and a unit, no trailing zeros."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a trailing window of 2 % of the steps: a reader's guide, drawn over the raw values."""
    window = max(1, len(values) // 50)
    total = np.cumsum(np.insert(np.nan_to_num(values), 0, 0.0))
    valid = np.cumsum(np.insert(np.isfinite(values).astype(float), 0, 0.0))
    low = np.maximum(np.arange(1, len(total)) - window, 0)
    count = valid[1:] - valid[low]
    return np.divide(total[1:] - total[low], count, out=np.full(len(values), np.nan), where=count > 0)


def _thinned(*columns: np.ndarray) -> list[np.ndarray]:
    step = max(1, -(-len(columns[0]) // _POINTS))
    return [column[::step] for column in columns]


def _rebinned(edges: np.ndarray, tokens: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum neighbouring bins, the same number each, into at most `bins` over the range that holds any."""
    filled = np.flatnonzero(tokens)
    if not filled.size:
        return edges[[0, -1]], np.zeros(1)
    first, last = filled[0], filled[-1] + 1
    starts = np.arange(first, last, -(-(last - first) // bins))
    return edges[[*starts, last]], np.add.reduceat(tokens[:last], starts)


def _token_axis(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.set_xlabel("tokens of the phase")


def _null_locator() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


@contextmanager
def _figure(
    salt: str, width: float, height: float, ratios: tuple[int, ...] = (1,)
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure of stacked axes sharing x; `salt` keeps the ids of several drawings on one page apart."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": ascii(salt)}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
        figure.align_ylabels()
        yield figure, list(axes)


def _svg(figure: Figure) -> str:
    """The drawing as an <svg> element without prolog, metadata or ids; the same bytes each time."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
