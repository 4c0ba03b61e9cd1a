"""Charts of the annotators' page: ROC-AUC with intervals, agreement, and scores by what they may stand in for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.annotator.diagnostics import Group
from snowcoder.plots import _ACCENT, _GRID, _INK, _MUTED, _SECOND, _figure, _svg

_BASELINES = ("length", "bag_of_tokens")


def auc_chart(benchmark: str, rows: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> str:
    """By language and scorer the AUC with its 95 % interval; annotators in colour, baselines grey."""
    lines = [(language, name, value) for language in rows for name, value in rows[language].items()]
    with _figure("auc" + benchmark, 4.6, 0.5 + 0.2 * len(lines)) as (figure, (axes,)):
        for place, (_, name, (value, low, high)) in enumerate(lines):
            colour = _MUTED if name.startswith(_BASELINES) else _ACCENT
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([value], [place], "o", color=colour, markersize=4.5)
        axes.axvline(0.5, color=_INK, linewidth=1, linestyle=(0, (3, 2)))
        starts = [i for i, (language, _, _) in enumerate(lines) if not i or lines[i - 1][0] != language]
        for start in starts[1:]:
            axes.axhline(start - 0.5, color=_GRID, linewidth=0.8)
        titles = [
            f"{name}  {language}" if i in starts else name for i, (language, name, _) in enumerate(lines)
        ]
        axes.set_yticks(range(len(lines)), titles, fontsize=8)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(min([0.4, *(low for _, _, (_, low, _) in lines)]), 1.0)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        return _svg(figure)


def agreement_chart(agreement: Mapping[str, Mapping[str, float]]) -> str:
    """Rank correlations between annotators, written into their squares."""
    names = list(agreement)
    with _figure("agreement", 1.6 + 0.62 * len(names), 0.9 + 0.42 * len(names)) as (figure, (axes,)):
        for row, one in enumerate(names):
            for column, other in enumerate(names):
                value = agreement[one][other]
                axes.fill(
                    [column - 0.48, column + 0.48, column + 0.48, column - 0.48],
                    [row - 0.46, row - 0.46, row + 0.46, row + 0.46],
                    color=_ACCENT if value >= 0 else _SECOND,
                    alpha=min(1.0, abs(value)) * 0.55 if value == value else 0.0,
                    linewidth=0,
                )
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=9)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        return _svg(figure)


def bias_chart(annotator: str, kind: str, groups: Sequence[Group]) -> str:
    """By group the quartiles and the mean of the score; at the right the documents and the share selected."""
    with _figure(f"bias{annotator}{kind}", 3.6, 0.5 + 0.24 * len(groups)) as (figure, (axes,)):
        for place, group in enumerate(groups):
            axes.plot(
                [group.low, group.high], [place, place], color=_MUTED, linewidth=5, solid_capstyle="butt"
            )
            axes.plot([group.mean], [place], "o", color=_ACCENT, markersize=5)
            axes.text(
                1.02, place, f"{group.documents:,} · {group.selected:.0%}", fontsize=8, va="center",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        axes.set_yticks(range(len(groups)), [_cut(group.name) for group in groups], fontsize=8)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        return _svg(figure)


def _cut(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
