"""What a run is doing, read from its directory alone, again and again at little cost.

Metrics and verdicts are read from where the last look ended, and each look reads a bounded part, so that a run of weeks
catches up over some looks and costs next to nothing after that. Works on a finished run, and beside one that goes on.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.ledger import Ledger
from snowcoder.funnel import Funnel, add_shard, total
from snowcoder.run_verdicts import Breach, RunVerdicts
from snowcoder.verdicts import ShardVerdicts

PHASES = ("general", "continued", "control", "enhanced")
SHARDS_A_LOOK = 500
BYTES_A_LOOK = 16 << 20
REJECTS = 12
POINTS = 400
"""Most points of a loss curve that are kept, evenly spaced over the phase."""


class Curve:
    """A phase's `metrics.jsonl`, followed as it grows and as restarts cut it."""

    def __init__(self, path: Path):
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.last: dict[str, Any] = {}
        self.points: list[tuple[int, float]] = []
        self._every, self._offset, self._file = 1, 0, 0

    def look(self) -> None:
        """Read what has been added; all of it again when a restart has put a shorter file in its place."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return
        if stat.st_ino != self._file or stat.st_size < self._offset:
            self._forget()
            self._file = stat.st_ino
        with self.path.open("rb") as file:
            file.seek(self._offset)
            read = file.read(BYTES_A_LOOK)
        whole = read[: read.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            self._add(json.loads(text))

    def _add(self, line: dict[str, Any]) -> None:
        self.last = line
        if line["step"] % self._every == 0:
            self.points.append((line["step"], line["loss"]))
        if len(self.points) > POINTS:
            self._every *= 2
            self.points = [point for point in self.points if point[0] % self._every == 0]


class RunState:
    """A run directory, looked at from time to time."""

    def __init__(self, run_dir: Path):
        self.root = run_dir
        self.funnel = Funnel()
        self._curves = {phase: Curve(run_dir / "train" / phase / "metrics.jsonl") for phase in PHASES}
        self._verdicts: RunVerdicts | None = None
        self._keys: Mapping[str, str] = {}
        self._recipe: dict[str, Any] = {}
        self._read_at = 0
        self._next = 0
        self._rejects: deque[dict[str, Any]] = deque(maxlen=REJECTS)
        self._seen: deque[tuple[float, int, int]] = deque(maxlen=20)  # time, documents, bytes judged

    def look(self) -> dict[str, Any]:
        """The run now, as JSON. Missing parts are None or empty."""
        self._judge()
        for curve in self._curves.values():
            curve.look()
        config = self._config()
        phases = {p: found for p in PHASES if (found := self._phase(p, config)) is not None}
        now = [p for p in phases if not phases[p]["finished"]]
        return {
            "name": config.get("name", self.root.name),
            "time": time.time(),
            "funnel": self._funnel(),
            "phases": phases,
            "current": max(now, key=lambda p: phases[p]["time"] or 0, default=None),
            "index": self._index(config),
            "rejects": list(self._rejects)[::-1],
            "scores": self._scores(),
            "synthesis": self._synthesis(),
        }

    # -- curation -----------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Fold the shards that have been judged to the end since the last look. They are so in order."""
        current = Ledger(self.root / "ledger").current() if (self.root / "ledger").is_dir() else {}
        if not current:
            return
        if self._verdicts is None or current != self._keys:
            self._verdicts, self._keys = RunVerdicts(self.root), dict(current)
            self.funnel, self._next = Funnel(stages=self._verdicts.stages), 0
            self._seen.clear()
            self._rejects.clear()
        if not self._verdicts.folders:
            return
        last = list(self._verdicts.folders.values())[-1]
        for _ in range(SHARDS_A_LOOK):
            if not (last / f"{self._next:08d}.arrow").exists():
                break
            try:
                found = self._verdicts.of(self._next, columns={})
            except Breach:
                break  # `snowcoder report` names it
            if not found.complete:
                break
            add_shard(self.funnel, found)
            self._rejects.extend(_rejected(found))
            self._next += 1
        read = total(self.funnel.read)
        self._seen.append((time.time(), read.documents, read.bytes))

    def _funnel(self) -> dict[str, Any]:
        read, kept = total(self.funnel.read), total(self.funnel.kept)
        (then, documents, volume), now = self._seen[0] if self._seen else (0.0, 0, 0), time.time()
        return {
            "shards": self._next,
            "read": read._asdict(),
            "kept": kept._asdict(),
            "dropped": [
                {"stage": stage, "reason": reason, **count._asdict()}
                for stage, reason, count in self.funnel.reasons()
            ],
            "documents_per_second": (read.documents - documents) / max(1e-9, now - then),
            "bytes_per_second": (read.bytes - volume) / max(1e-9, now - then),
            "stage_seconds": self.funnel.seconds,
        }

    def _index(self, config: dict[str, Any]) -> dict[str, Any]:
        room = config.get("curation", {}).get("dedup", {}).get("expected_documents")
        kept = total(self.funnel.kept).documents
        return {"documents": kept, "room": room, "fill": kept / room if room else None}

    # -- training -----------------------------------------------------------------------------------------------

    def _phase(self, phase: str, config: dict[str, Any]) -> dict[str, Any] | None:
        curve, folder = self._curves[phase], self.root / "train" / phase
        if not curve.last:
            return None
        line = curve.last
        summary = _json(folder / "summary.json")
        pointer = _json(folder / "pointer.json")
        steps = (summary or {}).get("steps") or _steps(config, "continued" if phase == "control" else phase)
        seconds = line.get("seconds")
        left = (steps - line["step"] - 1) * seconds if steps and seconds else None
        try:
            age = time.time() - (folder / "pointer.json").stat().st_mtime
        except FileNotFoundError:
            age = None
        return {
            "step": line["step"] + 1,
            "steps": steps,
            "finished": summary is not None and line["step"] + 1 >= summary["steps"],
            **{
                key: line.get(key)
                for key in ("loss", "lr", "tokens", "tokens_per_second", "data_wait_share", "mfu", "time")
            },
            "global_batch": config.get("train", {}).get("global_batch"),
            "seconds_left": left,
            "workers": (pointer or {}).get("world_size"),
            "restarts": max(0, sum(1 for _ in (folder / "ray").glob("attempt-*")) - 1),
            "checkpoint": (pointer or {}).get("position"),
            "checkpoint_age": age,
            "losses": curve.points,
        }

    # -- what other phases recorded -----------------------------------------------------------------------------

    def _scores(self) -> dict[str, float]:
        """Scored tokens by tenth of the score, over all languages; empty before phase 2."""
        found = _json(self.root / "selection.json") or {}
        tenths = [0.0] * 10
        for language in found.get("languages", {}).values():
            plotted = language.get("histogram") or {}
            for edge, tokens in zip(plotted.get("edges", []), plotted.get("tokens", []), strict=False):
                tenths[min(9, max(0, int(edge * 10)))] += tokens
        return {f"{i / 10:.1f}": tokens for i, tokens in enumerate(tenths)} if sum(tenths) else {}

    def _synthesis(self) -> dict[str, Any]:
        found = _json(self.root / "synthesis" / "summary.json") or {}
        return {key: found[key] for key in ("requested", "accepted", "output_tokens") if key in found}

    def _config(self) -> dict[str, Any]:
        path = self.root / "config.yaml"
        if path.exists() and path.stat().st_mtime_ns != self._read_at:
            self._read_at = path.stat().st_mtime_ns
            try:
                found = yaml.safe_load(path.read_text())
            except yaml.YAMLError:
                found = {}
            self._recipe = found if isinstance(found, dict) else {}
        return self._recipe


def _rejected(found: ShardVerdicts) -> list[dict[str, Any]]:
    """The last documents of a shard that were rejected, by place; `snowcoder inspect` shows the rest of them."""
    language, names = found.languages
    last = []
    for verdicts in found.stages:
        code, reasons = verdicts.reason
        for at in (code >= 0).nonzero()[0][-REJECTS:]:
            row = int(verdicts.rows[at])
            last.append((row, verdicts.stage, reasons[code[at]], names[language[row]]))
    return [
        {"place": f"{found.shard}:{row}", "stage": stage, "reason": reason, "language": name}
        for row, stage, reason, name in sorted(last)[-REJECTS:]
    ]


def _steps(config: dict[str, Any], phase: str) -> int | None:
    tokens = config.get(phase, {}).get("tokens")
    batch, row = config.get("train", {}).get("global_batch"), config.get("sequences", {}).get("seq_len")
    return tokens // (batch * row) if tokens and batch and row else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or being written
        return None
