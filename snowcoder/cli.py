"""The command line. Everything heavy is imported inside the commands, so that `--help` is instant."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from snowcoder.base import UserError
from snowcoder.cli_evaluate import evaluation
from snowcoder.cli_options import ConfigFile, Out, Set, existing, open_run

cli = typer.Typer(
    name="snowcoder",
    help="Arctic-SnowCoder as one stream: raw code to a trained and evaluated code model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
annotator = typer.Typer(help="The quality annotator: train it, score with it.", no_args_is_help=True)
cli.add_typer(annotator, name="annotator")
cli.add_typer(evaluation, name="evaluate")

Phase = Literal["general", "continued", "enhanced"]
DEMO = Path("conf/demo.yaml")


@cli.command(epilog="Example:  snowcoder demo --out runs/demo")
def demo(
    out: Out = Path("runs/demo"),
    config: ConfigFile = DEMO,
    set_: Set = [],  # noqa: B006 - typer copies it
) -> None:
    """All three phases, evaluation and report, small, on this machine; about a quarter of an hour on two cores."""
    run = open_run(config, out, set_)
    from snowcoder.demo import demo as play

    play(run)


@cli.command(epilog="Example:  snowcoder run general --config conf/demo.yaml --set general.tokens=200000")
def run(
    phase: Annotated[
        Phase, typer.Argument(help="Which phase; each starts from the model of the one before.")
    ],
    config: ConfigFile,
    out: Out = Path("runs/run"),
    set_: Set = [],  # noqa: B006
    accept_new_data: Annotated[
        bool, typer.Option(help="Go on from the position although the data before it changed; recorded.")
    ] = False,
) -> None:
    """Run one phase. As a job: ray job submit --working-dir . -- snowcoder run general --config conf/demo.yaml"""
    getattr(open_run(config, out, set_, accept_new_data), phase)()


@cli.command(
    epilog="Example:  snowcoder submit general --config conf/demo.yaml --run mine --storage /shared/runs"
)
def submit(
    phases: Annotated[
        list[str],
        typer.Argument(help="general, continued, enhanced: each starts when the one before has succeeded."),
    ],
    config: ConfigFile,
    run_name: Annotated[str, typer.Option("--run", help="Name of the run; the same one again continues it.")],
    storage: Annotated[
        str, typer.Option(help="Folder on the cluster's shared storage: the run is STORAGE/RUN.")
    ],
    address: Annotated[
        str, typer.Option(envvar="RAY_ADDRESS", help="Address of the cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[Path, typer.Option(help="Uploaded without what the run does not need.")] = Path(
        "."
    ),
    env: Annotated[
        list[str], typer.Option(metavar="K=V", help="Environment of the job; shown in the dashboard.")
    ] = [],  # noqa: B006
    secret: Annotated[
        list[str], typer.Option(metavar="NAME=FILE", help="A variable whose value is in a file on the nodes.")
    ] = [],  # noqa: B006
    retries: Annotated[int, typer.Option(min=0, help="How often a driver that died is started again.")] = 3,
    set_: Set = [],  # noqa: B006
) -> None:
    """Run phases as Ray jobs: follow the logs, end with the job's exit code; Ctrl-C saves a checkpoint and stops."""
    from snowcoder.submit import Submission, submit_all

    asked = Submission(config, run_name, storage, working_dir, tuple(set_), tuple(env), tuple(secret))
    sys.exit(submit_all(asked, phases, address, retries))


@cli.command(epilog="Example:  snowcoder curate --config conf/demo.yaml --out runs/mine --write kept/")
def curate(
    config: ConfigFile,
    out: Out = Path("runs/run"),
    write: Annotated[
        Path | None, typer.Option(help="Also write the kept documents here, one Parquet a shard.")
    ] = None,
    set_: Set = [],  # noqa: B006
) -> None:
    """Judge every document and record the verdicts; trains nothing. Shows the funnel."""
    current = open_run(config, out, set_)
    current.curate()
    from snowcoder.inspect import print_funnel, write_kept
    from snowcoder.samples import write_samples

    if write:
        write_kept(current, write)
    write_samples(current.root)
    print_funnel(current.root)


@cli.command(
    "store-index",
    epilog="Example:  snowcoder store-index --config conf/demo.yaml --out runs/mine --to index/",
)
def store_index(
    config: ConfigFile,
    to: Annotated[Path, typer.Option(help="Absent or empty folder for the index.")],
    out: Out = Path("runs/run"),
    set_: Set = [],  # noqa: B006
) -> None:
    """Write a curated run's near-duplicate index; other runs name it in curation.dedup.against."""
    from snowcoder import index_snapshot

    index_snapshot.store_index(open_run(config, out, set_), to)


AnnotatorRecipe = Annotated[
    Path | None,
    typer.Option(
        "--recipe", help="Partial recipe over --config's annotator; conf/annotators/ has the paper's."
    ),
]


@annotator.command("train", epilog="Example:  snowcoder annotator train --recipe conf/annotators/hqins.yaml")
def annotator_train(
    recipe: AnnotatorRecipe = None,
    config: ConfigFile = DEMO,
    out: Out = Path("runs/demo"),
    set_: Set = [],  # noqa: B006
) -> None:
    """Train an annotator into OUT/annotators/NAME; prints how well it tells unseen code apart."""
    _annotation(config, out, set_, recipe).train()


@annotator.command("score", epilog="Example:  snowcoder annotator score --recipe conf/annotators/hqins.yaml")
def annotator_score(
    recipe: AnnotatorRecipe = None,
    config: ConfigFile = DEMO,
    out: Out = Path("runs/demo"),
    set_: Set = [],  # noqa: B006
) -> None:
    """Score the kept documents and set each language's threshold for the token budget of phase 2."""
    _annotation(config, out, set_, recipe).score()


@annotator.command("compare", epilog="Example:  snowcoder annotator compare --out runs/demo")
def annotator_compare(
    out: Out = Path("runs/demo"),
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """All trained annotators of a run: what each was trained on, how it fares, and who wins where."""
    from snowcoder.annotator_page import write_annotator_page
    from snowcoder.annotator_table import print_comparison

    print_comparison(existing(out), json_)
    typer.echo(f"page: {write_annotator_page(out)}", err=True)


@cli.command(epilog="Example:  snowcoder report runs/demo")
def report(run_dir: Annotated[Path, typer.Argument(help="A run directory.")]) -> None:
    """Write RUN_DIR/report.html from what the run recorded."""
    from snowcoder.report import write_report

    typer.echo(str(write_report(existing(run_dir))))


@cli.command(epilog="Example:  snowcoder watch runs/demo")
def watch(
    run_dir: Annotated[Path, typer.Argument(help="A run directory; of a finished run too.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than loopback: with a token, and no encryption.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8787,
) -> None:
    """A live page on a run: funnel, speed, loss, position and estimated end. Read-only."""
    from snowcoder.watch import watch as serve

    serve(existing(run_dir), host, port)


@cli.command(epilog="Example:  snowcoder monitor --data /shared/prometheus")
def monitor(
    data: Annotated[Path, typer.Option(help="Folder of Prometheus' data.")] = Path("runs/prometheus"),
    ray_dir: Annotated[Path, typer.Option(help="Temporary directory of Ray's head.")] = Path("/tmp/ray"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="On loopback.")] = 9090,
    keep: Annotated[str, typer.Option(help="How long figures are kept, in Prometheus' words.")] = "60d",
) -> None:
    """Prometheus over this Ray head's nodes, with the alert rules of monitoring/."""
    from snowcoder.monitor import monitor as start

    start(ray_dir, data, port, keep)


@cli.command(epilog="Example:  snowcoder inspect runs/demo --set curation.rules.limits.max_line=2000")
def inspect(
    run_dir: Annotated[Path, typer.Argument(help="A run directory.")],
    reason: Annotated[str, typer.Option(help="Show documents rejected for this, the evidence marked.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Documents to show.")] = 5,
    language: Annotated[str | None, typer.Option(help="Only documents of this language.")] = None,
    document: Annotated[
        str, typer.Option(help="Why is this file missing? Every stage's verdict on it.", metavar="REPO:PATH")
    ] = "",
    pair: Annotated[
        str,
        typer.Option(
            help="A duplicate and what was kept for it, side by side.", metavar="SHARD:ROW|REPO:PATH"
        ),
    ] = "",
    preset: Annotated[
        str, typer.Option(help="What if: the funnel under the rules of conf/presets/NAME.yaml.")
    ] = "",
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="What if: under another curation.rules.… setting. May be given often.",
            metavar="K=V",
        ),
    ] = [],  # noqa: B006
) -> None:
    """What curation did: the funnel, every rule's hits and cost, rejected documents, and other thresholds."""
    from snowcoder import inspect as runs
    from snowcoder import inspect_documents as documents

    run_dir = existing(run_dir)
    asked = {"--reason": reason, "--document": document, "--pair": pair, "--set/--preset": set_ or preset}
    given = [option for option, value in asked.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: these show different things; give one of them")
    if reason:
        documents.print_rejected(run_dir, reason, limit, language)
    elif document:
        documents.print_document(run_dir, document)
    elif pair:
        documents.print_pair(run_dir, pair)
    elif set_ or preset:
        runs.print_what_if(run_dir, set_, preset, language)
    else:
        runs.print_rules(run_dir, language)


@cli.command(epilog="Example:  snowcoder plan --config conf/arctic_snowcoder_1b.yaml")
def plan(config: ConfigFile, set_: Set = []) -> None:  # noqa: B006
    """What would run where: memory, disk, time, bottleneck, and where each figure comes from. Starts nothing."""
    from snowcoder.config import load_config
    from snowcoder.planning import print_plan

    print_plan(load_config(config, set_))


def _annotation(config: Path, out: Path, overrides: list[str], recipe: Path | None):
    from snowcoder.annotation import Annotation
    from snowcoder.config import load_config

    return Annotation(open_run(config, out, overrides), load_config(config, overrides, recipe).annotator)


def app() -> None:
    """Entry point: errors that a user can mend are one line and exit code 2."""
    from snowcoder.secret_files import load_secrets

    try:
        load_secrets()
        cli()
    except UserError as error:
        _fail(str(error))
    except Exception as error:
        # Ray sends an exception of a task as text inside its own: what the user did is in there.
        if found := _USER_ERROR.search(str(error)):
            _fail(found[1])
        raise


_USER_ERROR = re.compile(r"snowcoder\.base\.UserError: (.+)")


def _fail(message: str) -> None:
    typer.secho(f"error: {message}", fg="red", err=True)
    sys.exit(2)


if __name__ == "__main__":
    app()
