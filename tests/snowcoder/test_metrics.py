"""Our metrics through a real Ray session into a real Prometheus, its alert rules, and Grafana's dashboard."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from snowcoder import grafana
from snowcoder.base import UserError
from snowcoder.metrics import FIGURES, Exporter, samples
from snowcoder.monitor import DISCOVERY, prepare
from snowcoder.watch_state import RunState
from tests.snowcoder.example_run import write_example

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
PHASES = ("general", "continued", "control", "enhanced")
UNSHOWN = (
    "bytes_kept",
    "shards_judged",
    "sequences",
    "tokens",
    "phase_running",
)  # beside what shows the same
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus; `apt-get install prometheus`"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool; `apt-get install prometheus`"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """An example run whose records have all that a real run on a known GPU records."""
    root = write_example(tmp_path_factory.mktemp("run"))
    config: dict[str, Any] = {
        "name": "example",
        "curation": {"dedup": {"expected_documents": 100_000}},
        "train": {"global_batch": 4},
        "sequences": {"seq_len": 64},
    }
    for phase in PHASES:
        config[phase] = {"tokens": 10_000_000}
        folder = root / "train" / phase
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        line = last | {
            "step": last["step"] + 1, "tokens": 1000, "seconds": 0.5, "tokens_per_second": 512.0, "mfu": 0.4,
            "data_wait_share": 0.01, "time": time.time(),
        }  # fmt: skip
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        (folder / "pointer.json").write_text(json.dumps({"position": 100, "world_size": 2}))
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    return root


def test_every_figure_has_a_value_on_a_complete_run(run):
    found = list(samples(RunState(run).look()))
    assert {figure for figure, _, _ in found} == set(FIGURES)
    for figure, tags, value in found:
        assert set(tags) == set(figure.tags)
        assert value >= 0, figure
    assert len({(figure.name, *sorted(tags.items())) for figure, tags, _ in found}) == len(found)


def test_a_run_without_records_has_no_figures(tmp_path):
    assert list(samples(RunState(tmp_path).look())) == []


# -- the dashboard --------------------------------------------------------------------------------------------------


def test_the_committed_dashboard_is_the_generated_one():
    assert grafana.PATH.read_text() == grafana.text(), "run `python -m snowcoder.grafana`"


def queries() -> list[str]:
    return [
        target["expr"]
        for panel in grafana.dashboard()["panels"]
        for target in panel.get("targets", [])
    ]  # fmt: skip


def test_dashboard_and_alerts_name_only_metrics_that_exist_and_the_dashboard_all():
    known = {figure.exported for figure in FIGURES}
    shown = set(re.findall(r"ray_snowcoder_\w+", json.dumps(grafana.dashboard())))
    alerted = set(re.findall(r"ray_snowcoder_\w+", (MONITORING / "alerts.yaml").read_text()))
    assert shown <= known
    assert alerted <= known
    assert known - shown == {f"ray_snowcoder_{name}" for name in UNSHOWN}


def test_no_panels_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in grafana.dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


# -- Prometheus -----------------------------------------------------------------------------------------------------


@needs_promtool
def test_the_alert_rules_pass_their_tests():
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yaml"],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways_and_in_the_operating_guide():
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    cases = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    asked = [check for case in cases for check in case["alert_rule_test"]]
    guide = (ROOT / "docs/operating.md").read_text()
    for rule in rules:
        outcomes = {bool(check["exp_alerts"]) for check in asked if check["alertname"] == rule["alert"]}
        assert outcomes == {True, False}, rule["alert"]
        assert rule["alert"] in guide


def test_without_a_head_it_is_said(tmp_path):
    with pytest.raises(UserError, match="no Ray head"):
        prepare(tmp_path, tmp_path / "data", 9090, "1d", program="true")
    with pytest.raises(UserError, match="not installed"):
        prepare(tmp_path, tmp_path / "data", 9090, "1d", program="no-such-program")


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


@needs_prometheus
def test_every_panel_has_data_in_a_prometheus_that_scrapes_ray(run, ray_session, tmp_path):
    """The way that `snowcoder monitor` sets up; the list of nodes is written as Ray's head writes it."""
    (node,) = [node for node in ray_session.nodes() if node["Alive"]]
    target = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    (tmp_path / DISCOVERY).write_text(json.dumps([{"labels": {"job": "ray"}, "targets": [target]}]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = prepare(tmp_path, tmp_path / "data", port, "1d")
    assert f"--web.listen-address=127.0.0.1:{port}" in command
    exporter = Exporter(run, every=5.0)
    exporter.start()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        empty = queries()
        while empty:
            assert time.monotonic() < deadline, f"no data for {empty}"
            time.sleep(2.0)
            try:
                empty = [query for query in empty if not has_data(port, query)]
            except OSError:  # not up yet
                continue
        rules = get(f"http://127.0.0.1:{port}/api/v1/rules")["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        assert len(rules) == 5
    finally:
        exporter.stop()
        server.kill()
        server.wait()


def has_data(port: int, query: str) -> bool:
    asked = urllib.parse.quote(query.replace("$run", ".*"))
    return bool(get(f"http://127.0.0.1:{port}/api/v1/query?query={asked}")["data"]["result"])
