"""The Grafana dashboard, from the figures that exist; `python -m snowcoder.grafana` writes it to monitoring/."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snowcoder import metrics as m
from snowcoder.metrics import Figure

PATH = Path(__file__).parents[1] / "monitoring" / "grafana-dashboard.json"
WIDTH, HEIGHT = 8, 7
"""Of a panel; Grafana's grid is 24 wide."""


@dataclass(frozen=True)
class Query:
    """PromQL with `{}` where the metric and its selector go, e.g. `rate({}[5m])`."""

    figure: Figure
    legend: str
    wrap: str = "{}"

    @property
    def expression(self) -> str:
        return self.wrap.replace("{}", self.figure.exported + '{run=~"$run"}')


@dataclass(frozen=True)
class Panel:
    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    """A unit of Grafana's: short, percentunit, s, Bps."""


PHASE = "{{phase}}"
ROWS: dict[str, tuple[Panel, ...]] = {
    "Curation": (
        Panel("Documents", (Query(m.READ, "read"), Query(m.KEPT, "kept"))),
        Panel("Speed", (Query(m.READ_BYTES, "read", "deriv({}[5m])"),), "Bps"),
        Panel("Dropped, by reason", (Query(m.DROPPED, "{{stage}}: {{reason}}", "topk(12, {})"),)),
        Panel("Shares", (Query(m.DROPPED_SHARE, "dropped"), Query(m.DUPLICATE_SHARE, "duplicates")), "percentunit"),
        Panel("Duplicate index, filled", (Query(m.INDEX_FILL, "filled"),), "percentunit"),
        Panel("Processor seconds by stage", (Query(m.STAGE_SECONDS, "{{stage}}"),), "s"),
    ),
    "Annotator and generator": (
        Panel("Scored tokens by score", (Query(m.SCORED, "{{score}}"),)),
        Panel("Files", (Query(m.REQUESTED, "requested"), Query(m.ACCEPTED, "accepted"))),
        Panel("Generated tokens", (Query(m.GENERATED, "tokens"),)),
    ),
    "Training": (
        Panel("Loss", (Query(m.LOSS, PHASE),)),
        Panel("Tokens per second", (Query(m.SPEED, PHASE),)),
        Panel("Waiting for data", (Query(m.DATA_WAIT, PHASE),), "percentunit"),
        Panel("Steps", (Query(m.STEP, f"{PHASE} done"), Query(m.STEPS, f"{PHASE} in all"))),
        Panel("Model FLOPs utilisation", (Query(m.MFU, PHASE),), "percentunit"),
        Panel("Age of the last checkpoint", (Query(m.CHECKPOINT_AGE, PHASE),), "s"),
        Panel("Restarts and workers", (Query(m.RESTARTS, f"{PHASE} restarts"), Query(m.WORKERS, f"{PHASE} workers"))),
    ),
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it; it asks for the Prometheus to use."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            }
        )
        top += 1
        for place, panel in enumerate(row):
            across, down = place % (24 // WIDTH), place // (24 // WIDTH)
            panels.append(
                _panel(panel, len(panels) + 1, {"x": across * WIDTH, "y": top + down * HEIGHT, "w": WIDTH, "h": HEIGHT})
            )  # fmt: skip
        top += -(-len(row) // (24 // WIDTH)) * HEIGHT
    source = {"type": "prometheus", "uid": "${source}"}
    run = {
        "name": "run", "type": "query", "datasource": source, "refresh": 2, "multi": True, "includeAll": True,
        "query": f"label_values({m.STEP.exported}, run)", "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    return {
        "uid": "snowcoder",
        "title": "snowcoder",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}, run]},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": " ".join(query.figure.description for query in panel.queries),
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": query.expression, "legendFormat": query.legend}
            for i, query in enumerate(panel.queries)
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
