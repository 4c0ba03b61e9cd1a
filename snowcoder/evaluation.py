"""`snowcoder evaluate`: benchmarks on a model or on samples, without a run's recipe, and two results compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from evaluation.compare import Comparison, compare_results, read_result, results_in
from evaluation.config import EvaluationConfig
from evaluation.paper_table import beside
from snowcoder.base import UserError
from snowcoder.evaluation_table import title_of
from snowcoder.progress import say, track

# Wide enough for every table here, also where the output is a file.
_console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Request:
    """What the command line asks for; `given` are EvaluationConfig's fields."""

    given: dict[str, Any]
    model: Path | None
    samples: Path | None
    out: Path
    name: str
    address: str | None = None  # of a Ray cluster; None: this machine's threads


def evaluate(request: Request) -> dict[str, Any]:
    """Evaluate, write OUT/eval/NAME.json and .html, and end with one line a benchmark: passed/total and pass@1."""
    from evaluation.run import evaluate_model, evaluate_samples
    from snowcoder.evaluation_page import write_evaluation_page

    cfg = _config(request.given)
    out_path = request.out / "eval" / f"{request.name}.json"
    with _session(request.address):
        if request.samples is not None:
            result = evaluate_samples(request.samples, cfg, out_path, track)
        else:
            assert request.model is not None
            result = evaluate_model(request.model, cfg, out_path, track)
    page = write_evaluation_page(out_path)
    say(f"results: {out_path}")
    say(f"page: {page}")
    print_result(result)
    return result


def print_result(result: dict[str, Any]) -> None:
    """The paper's table beside ours where it has the benchmark, doubts, and last the figures, a line each."""
    ours = {name: part for name, part in result.items() if isinstance(part, dict) and "pass@1" in part}
    columns = [name for name in ours if beside(name)]
    if columns:
        _console.print(_paper_table(ours, columns))
    for name, part in results_in(result).items():
        for doubt in doubts(part):
            _console.print(f"{name}: {doubt}", markup=False)
    for name, value in result.get("bits_per_byte", {}).items():
        _console.print(f"{name}: reference solutions {value:.4f} bits per byte", markup=False)
    for name, part in ours.items():
        _console.print(final_line(name, part), markup=False)


def final_line(name: str, part: dict[str, Any]) -> str:
    """`humaneval+ 150/164 pass@1 0.915 (95 % 0.862 to 0.948)`, and pass@k where there is one."""
    low, high = part["pass@1_interval"]
    more = "".join(
        f" {field} {value:.3f}"
        for field, value in part.items()
        if field.startswith("pass@") and field[5:].isdigit() and field != "pass@1"
    )
    return f"{name} {part['passed']}/{part['total']} pass@1 {part['pass@1']:.3f} (95 % {low:.3f} to {high:.3f}){more}"


def doubts(part: dict[str, Any]) -> list[str]:
    """What a reader of the figure should know: failing references, missing samples, time limits, no sandbox."""
    found = []
    if part.get("failing_references"):
        names = ", ".join(verdict["task"] for verdict in part["failing_references"][:5])
        found.append(
            f"{part['references']} reference solutions pass on this host (not {names}"
            f"{', …' if len(part['failing_references']) > 5 else ''}); "
            f"over the others pass@1 is {part.get('pass@1_valid', part['pass@1']):.3f}"
        )
    if part.get("missing_tasks"):
        found.append(f"{part['missing_tasks']} of {part['tasks']} tasks have no sample and count as failed")
    late = sum(count for reason, count in part["reasons"].items() if reason in ("cpu_limit", "wall_limit"))
    if late:
        found.append(f"{late} of {part['total']} programs ended at a time limit")
    again = sum(verdict.get("retried", False) for verdict in part.get("verdicts", []))
    if again:
        found.append(f"{again} programs met the wall limit and were run once more, alone")
    if "unsafe" in part.get("sandbox", ""):
        found.append("judged without a sandbox: programs could reach the network and this user's files")
    return found


def compare(first: Path, second: Path, json_: bool = False) -> list[Comparison]:
    """Print two results side by side; the last lines say for each benchmark what may be concluded."""
    found = compare_results(read_result(first), read_result(second))
    if json_:
        _console.print_json(data=[asdict(one) for one in found])
        return found
    table = Table(title=f"A = {first}    B = {second}", title_justify="left", title_style="")
    for column in ("benchmark", "tasks", "A", "B", "A - B", "95 % interval", "only A", "only B", "p"):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for one in found:
        pair = one.paired
        table.add_row(
            one.benchmark,
            str(pair.tasks),
            f"{one.first:.3f}",
            f"{one.second:.3f}",
            f"{pair.difference:+.3f}",
            f"{pair.low:+.3f} to {pair.high:+.3f}",
            str(pair.only_first),
            str(pair.only_second),
            f"{pair.p:.2g}",
        )
    _console.print(table)
    for one in found:
        for caution in one.cautions:
            _console.print(f"{one.benchmark}: not the model alone differs: {caution}", markup=False)
    for one in found:
        _console.print(conclusion(one), markup=False)
    return found


def conclusion(one: Comparison) -> str:
    """One sentence: who is better, or that these tasks cannot tell, and from what difference on they could."""
    pair = one.paired
    if pair.significant:
        said = f"{'A' if pair.difference > 0 else 'B'} is better by {abs(pair.difference):.3f}"
    else:
        said = "no difference that is more than chance"
    return (
        f"{one.benchmark}: {said} ({pair.test}, p = {pair.p:.2g}); "
        f"{pair.tasks} tasks see a difference of {pair.visible:.3f} or more 4 times in 5"
    )


def _paper_table(ours: dict[str, dict[str, Any]], columns: list[str]) -> Table:
    table = Table(title="Beside the paper's table 2 (greedy pass@1, %)", title_justify="left", title_style="")
    table.add_column("model")
    for name in columns:
        table.add_column(title_of(name), justify="right")
    for model in beside(columns[0]):
        table.add_row(model, *(f"{beside(name)[model]:.1f}" for name in columns))
    table.add_section()
    table.add_row(
        "[bold]this one[/bold]", *(f"[bold]{100 * ours[name]['pass@1']:.1f}[/bold]" for name in columns)
    )
    return table


def _config(given: dict[str, Any]) -> EvaluationConfig:
    try:
        return EvaluationConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "evaluation"
        raise UserError(f"{where}: {first['msg']}") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`limits.cpu_seconds=5` -> {"limits": {"cpu_seconds": 5}}. UserError for another form."""
    found: dict[str, Any] = {}
    for setting in settings:
        path, separator, value = setting.partition("=")
        if not separator or not path:
            raise UserError(f"--set {setting}: write key=value, for example limits.cpu_seconds=5")
        place = found
        *folders, last = path.removeprefix("evaluation.").split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = yaml.safe_load(value)
    return found


def _session(address: str | None):
    """The Ray session at `address` while the block runs; none of ours without one."""
    import contextlib

    if address is None:
        return contextlib.nullcontext()
    import ray

    return ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
