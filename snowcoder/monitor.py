"""Prometheus over a Ray cluster: one command, with Ray's own list of nodes and our alert rules."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from snowcoder.base import UserError
from snowcoder.files import write_atomically

RULES = Path(__file__).parents[1] / "monitoring" / "alerts.yaml"
DISCOVERY = "prom_metrics_service_discovery.json"
"""Ray's head keeps the nodes' metrics addresses in it, in its temporary directory."""


def settings(discovery: Path, rules: Path) -> dict[str, Any]:
    """prometheus.yml: the nodes that Ray lists, also those that come later."""
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "ray", "file_sd_configs": [{"files": [str(discovery)]}]}],
    }


def prepare(ray_dir: Path, data: Path, port: int, keep: str, program: str = "prometheus") -> list[str]:
    """Write prometheus.yml into `data`; returns the command. It listens on this machine's loopback alone.

    Raises UserError when Prometheus is not installed or no head of Ray has run here.
    """
    found = shutil.which(program)
    if found is None:
        raise UserError(
            "prometheus: not installed; `apt-get install prometheus`, or run it elsewhere (docs/cluster.md)"
        )
    discovery = ray_dir / DISCOVERY
    if not discovery.exists():
        raise UserError(
            f"{discovery}: no Ray head writes its nodes there; run this on the head, its --temp-dir as --ray-dir"
        )
    write_atomically(data / "prometheus.yml", yaml.safe_dump(settings(discovery.resolve(), RULES)))
    return [
        found,
        f"--config.file={data / 'prometheus.yml'}",
        f"--storage.tsdb.path={data / 'series'}",
        f"--storage.tsdb.retention.time={keep}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def monitor(ray_dir: Path, data: Path, port: int, keep: str) -> None:
    """Become Prometheus. Does not return."""
    command = prepare(ray_dir, data.resolve(), port, keep)
    print(f"Prometheus on http://127.0.0.1:{port}, data in {data}; Ctrl-C ends it", flush=True)
    os.execv(command[0], command)
