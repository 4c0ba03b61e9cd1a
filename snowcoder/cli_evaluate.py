"""`snowcoder evaluate` and `snowcoder evaluate compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from snowcoder.base import UserError
from snowcoder.cli_options import Out, Set, open_run

evaluation = typer.Typer(
    help="Evaluate a model or samples; compare two results.", invoke_without_command=True
)


@evaluation.callback(
    epilog="Example:  snowcoder evaluate --benchmark humaneval+ --samples samples.jsonl --out runs/mine"
)
def evaluate(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="A recipe: its evaluation section, for a model of a run.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Hugging Face directory of the model.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Judge these: EvalPlus's or BigCodeBench's JSON lines, or a folder.")
    ] = None,
    benchmark: Annotated[
        list[str], typer.Option(help="humaneval+, mbpp+, evoeval, bigcodebench, multipl-e_js, … Often.")
    ] = [],  # noqa: B006
    data: Annotated[Path | None, typer.Option(help="Folder with the benchmarks' files.")] = None,
    out: Out = Path("runs/run"),
    name: Annotated[str, typer.Option(help="Name of the result: OUT/eval/NAME.json and .html.")] = "model",
    prompt: Annotated[
        Literal["base", "instruct", "auto"], typer.Option(help="How the model is asked.")
    ] = "base",
    n: Annotated[int, typer.Option(min=1, help="Samples a task; more than one needs --temperature.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster that shares the work: auto, or its address.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run programs with limits alone, without a sandbox.")
    ] = False,
    set_: Set = [],  # noqa: B006
) -> None:
    """Evaluate a model, or samples from elsewhere; ends with passed/total and pass@1 of each benchmark."""
    if context.invoked_subcommand is not None:
        return
    if (model is None) == (samples is None):
        raise UserError("snowcoder evaluate: give --model DIR or --samples FILE")
    if config is not None:
        if model is None or benchmark:
            raise UserError("--config: evaluates a --model on the recipe's benchmarks; leave the others out")
        open_run(config, out, set_).evaluate(name, model)
        return
    from snowcoder import evaluation as evaluations

    if not benchmark:
        raise UserError("snowcoder evaluate: name a --benchmark, for example humaneval+")
    asked = {
        "benchmarks": benchmark,
        "bits_per_byte_benchmarks": (),
        "data_dir": data,
        "prompt": prompt,
        "samples": n,
        "temperature": temperature,
        "pass_at": [k for k in (1, 10, 100) if k <= n],
        **({"sandbox": "unsafe"} if unsafe else {}),
        **evaluations.parse_settings(set_),
    }
    evaluations.evaluate(evaluations.Request(asked, model, samples, out, name, address))


@evaluation.command(
    "compare", epilog="Example:  snowcoder evaluate compare runs/a/eval/model.json runs/b/eval/model.json"
)
def evaluate_compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Result of one model: OUT/eval/NAME.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Result of the other.")],
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Two results, task by task: the difference, its interval and test, and the smallest one to be seen."""
    from snowcoder.evaluation import compare

    compare(first, second, json_)
