"""The demo: raw code to an evaluated model by all three phases, in the order of the paper's sections."""

from __future__ import annotations

import json

from evaluation.run import compare
from pipelines.schema import stable_hash
from snowcoder.files import write_atomically
from snowcoder.funnel import check_accounting
from snowcoder.inspect import print_funnel
from snowcoder.progress import say
from snowcoder.report import write_report
from snowcoder.run import Run
from snowcoder.samples import write_samples
from train.audit import check, committed_order
from train.leaving import bad_steps
from train.trainer import summarise

PHASES = ("general", "continued", "control", "enhanced")


def demo(run: Run) -> None:
    """Play the whole road, or what is left of it. Prints the report's path last."""
    report, done = run.root / "report.html", run.root / "done.json"
    state = stable_hash([run.config.model_dump(mode="json"), run.manifest.fingerprint])
    if done.exists() and json.loads(done.read_text()) == state and report.exists():
        say(f"already done; delete {run.root} to play it again")
        say(f"report: {report}")
        return
    run.curate()
    print_funnel(run.root)
    run.general()
    run.continued()
    run.enhanced()
    _prove(run)
    evaluations = {phase: run.evaluate(phase) for phase in PHASES if (run.root / "model" / phase).exists()}
    if "control" in evaluations:
        for name, gap in compare(evaluations["continued"], evaluations["control"]).items():
            better = "the annotator's choice" if gap["value"] < 0 else "random documents"
            sure = "" if gap["low"] > 0 or gap["high"] < 0 else " (the interval holds 0: not told apart)"
            say(
                f"{name}: {better} wins by {abs(gap['value']):.4f} bits per byte, "
                f"95 % interval {gap['low']:+.4f} to {gap['high']:+.4f}{sure}"
            )
    write_samples(run.root)
    write_report(run.root)
    write_atomically(done, json.dumps(state))
    say(f"report: {report}")


def _prove(run: Run) -> None:
    """The two promises that a small run can check whole: every document is accounted for, every batch trained once."""
    faults = [str(violation) for violation in check_accounting(run.root)]
    batch = run.config.train.global_batch
    for phase in PHASES:
        if (run.root / "train" / phase).exists():
            steps = summarise(run.root / "train" / phase, run.config.train)["steps"]
            order, skipped = committed_order(run.root, phase), bad_steps(run.root / "train" / phase)
            faults += [f"{phase}: {fault}" for fault in check(order, batch, steps, skipped)]
    if faults:
        raise RuntimeError(f"{len(faults)} faults in the records of {run.root}, the first: {faults[0]}")
    say("checked: read = kept + rejected in every shard; every global batch trained once, in order")
