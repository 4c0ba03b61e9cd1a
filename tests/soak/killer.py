"""Kills parts of a live run, one after another, and starts the command again whenever it has ended.

The run's processes are found by descent from the command that was started here (Ray names them `ray::...`), so no
other Ray session on the machine is ever hit. Progress is read from what rank 0 writes down of each step.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

# kind of victim -> what its process is called: the beginning of its command line, or the program's own name
TITLES: dict[str, tuple[str, ...]] = {
    "training worker": ("ray::RayTrainWorker",),
    "claim actor": ("ray::MapWorker(MapBatches(Claim))",),
    "deal actor": ("ray::MapWorker(MapBatches(Deal))",),
    "judge or pack task": ("ray::MapBatches(Judge)", "ray::MapBatches(Pack)"),
    "index partition": ("ray::Partition", "ray::index-"),
    "split coordinator": ("ray::SplitCoordinator",),
    "train controller": ("ray::TrainController",),
    "driver": (),
    "raylet": ("raylet",),
    "GCS": ("gcs_server",),
}
_HEADS = (
    "driver",
    "raylet",
    "GCS",
    "train controller",
)  # workers may outlive these, and train on for a while
_TICK = 0.05  # seconds between looks


class Stuck(AssertionError):
    """The run made no step for too long; the message says what each of its processes was doing."""


@dataclass(frozen=True)
class Planned:
    """A kill to come: `delay` seconds after `step` steps are done, or after the kill before where that is None."""

    kind: str
    step: int | None
    delay: float


@dataclass
class Kill:
    """One process killed, and what followed."""

    kind: str
    step: int  # steps that were done then
    attempts: int  # that had begun then
    at: float  # monotonic seconds
    restarted: float | None = (
        None  # seconds until a new attempt had done its first step; None: nobody restarted
    )
    driver_ended: bool = False


class Progress:
    """Follows rank 0's audit log: attempts and steps as they are written."""

    def __init__(self, phase_dir: Path):
        self.path, self._offset = phase_dir / "audit-rank0.jsonl", 0
        self.attempts = 0
        self.steps_run = 0  # those that were lost and run again included
        self.done = 0  # the step after the last one seen
        self.attempt_has_stepped = False
        self.last_step_at = time.monotonic()

    def look(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text.rpartition(b"\n")[0]
        self._offset += len(whole) + bool(whole)
        for line in map(json.loads, whole.split(b"\n") if whole else []):
            if "attempt" in line:
                self.attempts += 1
                self.attempt_has_stepped = False
            else:
                self.steps_run += 1
                self.done = line["step"] + 1
                self.attempt_has_stepped = True
                self.last_step_at = time.monotonic()


class Command:
    """A command that is started again when it ends before its work is done, as a job's retry would."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]):
        self.arguments, self.log, self.environment = arguments, log, environment
        self.starts = 0
        self._seen: set[psutil.Process] = set()
        self.start()

    def start(self) -> None:
        with self.log.open("a") as out:
            out.write(f"--- start {self.starts}\n")
            out.flush()
            self.process = subprocess.Popen(
                self.arguments, stdout=out, stderr=subprocess.STDOUT, env=self.environment
            )
        self.driver = psutil.Process(self.process.pid)
        self.starts += 1

    def processes(self) -> list[psutil.Process]:
        """All processes alive that descend from any start: orphans of a dead driver or raylet too."""
        roots = {process for process in self._seen if _alive(process)}
        if self.process.poll() is None:
            roots.add(self.driver)
        self._seen = set(roots)
        for root in roots:
            try:
                self._seen.update(root.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        return sorted((p for p in self._seen if _alive(p)), key=lambda p: p.pid)

    def victims(self, kind: str) -> list[psutil.Process]:
        """Processes of this kind that are alive."""
        if kind == "driver":
            return [self.driver] if self.process.poll() is None else []
        return self.found(TITLES[kind])

    def found(self, titles: tuple[str, ...]) -> list[psutil.Process]:
        """Processes alive whose title begins with one of these."""
        return [process for process in self.processes() if title(process).startswith(titles)]

    def tell(self) -> str:
        """What each process is doing: its Python stack where py-spy can read it, else its state."""
        return "\n".join(_doing(process) for process in self.processes())

    def end(self) -> None:
        """Kill all that is left. The command itself first, so that it starts nothing new."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                _kill(process)
            time.sleep(0.2)


def title(process: psutil.Process) -> str:
    """What a process calls itself; "" once it is gone."""
    try:
        line = " ".join(process.cmdline()).strip()
        return line if line.startswith("ray::") else process.name()
    except psutil.NoSuchProcess:
        return ""


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()  # checks that the id still belongs to the process that was seen
    except psutil.NoSuchProcess:
        return False
    return True


def _doing(process: psutil.Process) -> str:
    name = title(process)
    try:
        head = f"{process.pid} {name} {process.status()} {process.cpu_times().user:.0f} s"
    except psutil.NoSuchProcess:
        return f"{process.pid} gone"
    if not (name.startswith("ray::") or "python" in name) or name == "ray::IDLE":
        return head
    spy = Path(sys.executable).with_name("py-spy")  # comes with Ray's dashboard
    dump = subprocess.run(
        [str(spy), "dump", "--nonblocking", "--pid", str(process.pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return f"{head}\n{dump.stdout}{dump.stderr}"


def run_with_kills(
    command: Command, phase_dir: Path, plan: list[Planned], *, stuck_after: float = 300.0
) -> tuple[list[Kill], Progress]:
    """Run the command to its end, killing on the way. Returns what was killed, and what was seen of the steps.

    Where no process of a kind is found for 5 s, it changes places with the next kind of the plan, and at its end a
    training worker dies instead.

    Raises Stuck when no step is made for `stuck_after` seconds.
    """
    progress = Progress(phase_dir)
    kills: list[Kill] = []
    plan = list(plan)
    due: float | None = None
    while True:
        time.sleep(_TICK)
        progress.look()
        now = time.monotonic()
        last = kills[-1] if kills else None
        if (
            last
            and last.restarted is None
            and progress.attempts > last.attempts
            and progress.attempt_has_stepped
        ):
            last.restarted = progress.last_step_at - last.at
        if command.process.poll() is not None:
            if command.process.returncode == 0:
                return kills, progress
            if last:
                last.driver_ended = True
            command.start()
            continue
        if now - progress.last_step_at > stuck_after:
            raise Stuck(
                f"no step for {stuck_after:.0f} s after {progress.done} steps; last killed: "
                f"{last.kind if last else 'nothing'}\n{command.tell()}"
            )
        if not plan:
            continue
        if due is None:
            settled = last is None or last.kind not in _HEADS or progress.attempts > last.attempts
            reached = settled and progress.attempt_has_stepped and progress.done >= (plan[0].step or 0)
            if plan[0].step is None or reached:
                due = now + plan[0].delay
            continue
        if now < due:
            continue
        victims = command.victims(plan[0].kind)
        if not victims:
            if now - due > 5.0:
                kinds = (plan[1].kind, plan[0].kind) if len(plan) > 1 else ("training worker",)
                plan[:2] = [replace(kill, kind=kind) for kill, kind in zip(plan, kinds, strict=False)]
                due = now
            continue
        victim = random.Random(len(kills)).choice(victims)
        name = title(victim)
        if _kill(victim):
            kills.append(Kill(plan.pop(0).kind, progress.done, progress.attempts, now))
            print(f"kill {len(kills)}: {kills[-1].kind}, {name}, after step {progress.done}", flush=True)
            due = None


def table(kills: list[Kill]) -> str:
    """Markdown: kills by kind, how many of them began a new attempt, and the seconds until its first step."""
    rows = [
        "| killed | kills | new attempt | driver ended | seconds to the next step, median | max |",
        "|" + "---|" * 6,
    ]
    kinds = sorted({kill.kind for kill in kills})
    for kind in [*kinds, "all"]:
        of_kind = [kill for kill in kills if kind in (kill.kind, "all")]
        times = [kill.restarted for kill in of_kind if kill.restarted is not None]
        median, most = (f"{statistics.median(times):.0f}", f"{max(times):.0f}") if times else ("-", "-")
        ended = sum(kill.driver_ended for kill in of_kind)
        rows.append(f"| {kind} | {len(of_kind)} | {len(times)} | {ended} | {median} | {most} |")
    return "\n".join(rows)
