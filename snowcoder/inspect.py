"""Looking at verdicts: the funnel, rejected documents with their evidence, and what was kept."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipelines.manifest import Manifest
from pipelines.schema import Shard
from pipelines.sources import read_shard
from pipelines.sources.config import SourceConfig
from snowcoder.base import UserError
from snowcoder.config import load_config
from snowcoder.files import write_atomically
from snowcoder.funnel import Rejected, funnel, rejected, total

if TYPE_CHECKING:
    from snowcoder.run import Run

EXCERPT = 1500  # characters of a document that are shown


def print_funnel(run_dir: Path) -> None:
    """Read -> each reason -> kept, in documents and bytes."""
    found = funnel(run_dir)
    table = Table("stage", "reason", "documents", "MB", title="Funnel", title_justify="left")
    read, kept = total(found.read), total(found.kept)
    table.add_row("", "read", f"{read.documents:,}", f"{read.bytes / 1e6:,.1f}")
    for stage, reason, count in found.reasons():
        table.add_row(stage, reason, f"-{count.documents:,}", f"-{count.bytes / 1e6:,.1f}")
    table.add_row("", "kept", f"{kept.documents:,}", f"{kept.bytes / 1e6:,.1f}", style="bold")
    Console().print(table)
    for violation in found.violations:
        Console().print(f"ACCOUNTING {violation}", style="red")


def print_rejected(run_dir: Path, reason: str, limit: int) -> None:
    """Rejected documents with their evidence. Raises UserError for a reason that rejected nothing."""
    reasons = Counter({name: count.documents for _, name, count in funnel(run_dir).reasons()})
    if reason not in reasons:
        known = ", ".join(f"{name} ({count})" for name, count in reasons.most_common()) or "none yet"
        if reason:
            raise UserError(f"--reason {reason}: nothing was rejected for that; reasons here: {known}")
        Console().print(f"reasons: {known}")
        return
    console = Console()
    for record in samples(run_dir, [reason], limit):
        evidence = ", ".join(f"{name}={value}" for name, value in record["evidence"].items())
        title = f"{record['repo']} {record['path']} ({record['lang'] or 'unknown language'})"
        body = Text(f"{evidence}\n\n", style="yellow") + Text(record["text"], style="default")
        console.print(Panel(body, title=Text(title), title_align="left"))


def samples(run_dir: Path, reasons: list[str], limit: int) -> Iterator[dict[str, Any]]:
    """Up to `limit` documents of each reason with text and evidence; a duplicate's evidence names what it doubles.

    Texts are read again from the source, a shard at a time.
    """
    source, shards = _source(run_dir)
    wanted: dict[int, list[Rejected]] = defaultdict(list)
    taken: Counter[str] = Counter()
    for item in rejected(run_dir, reasons[0] if len(reasons) == 1 else None):
        if item.reason in reasons and taken[item.reason] < limit:
            taken[item.reason] += 1
            wanted[item.shard].append(item)
        if all(taken[reason] >= limit for reason in reasons):
            break
    for number, items in sorted(wanted.items()):
        documents = _documents(shards[number], source, {item.row for item in items})
        for item in items:
            document = documents.get(item.row, {})
            evidence = {name: value for name, value in item.evidence.items() if value is not None}
            if (owner := evidence.pop("dup_of", -1)) >= 0:
                evidence["duplicate_of"] = _place(owner, shards, source)
            yield {
                "reason": item.reason,
                "repo": document.get("repo", ""),
                "path": document.get("path", ""),
                "lang": evidence.pop("lang", ""),
                "evidence": evidence,
                "text": (document.get("text") or document.get("fault") or "")[:EXCERPT],
            }


def write_samples(run_dir: Path, limit: int = 2) -> None:
    """RUN/samples/*.jsonl for the report: rejected documents, and generated files beside their seeds."""
    reasons = [reason for _, reason, _ in funnel(run_dir).reasons()]
    lines = [json.dumps(record) for record in samples(run_dir, reasons, limit)]
    write_atomically(run_dir / "samples" / "rejected.jsonl", "\n".join(lines).encode())
    lines = [json.dumps(record) for record in _answers(run_dir, 6)]
    write_atomically(run_dir / "samples" / "synthetic.jsonl", "\n".join(lines).encode())


def write_kept(run: Run, directory: Path) -> None:
    """The kept documents of a judged run, one Parquet file a shard."""
    from pipelines.curation import kept_documents

    for shard in run.corpus.shards:
        sink = pa.BufferOutputStream()
        table = pa.concat_tables(kept_documents(shard, run.corpus.curation)).drop_columns(["fault"])
        pq.write_table(table, sink, compression="zstd")
        write_atomically(directory / f"{shard.shard:08d}.parquet", sink.getvalue())


def _source(run_dir: Path) -> tuple[SourceConfig, list[Shard]]:
    return load_config(run_dir / "config.yaml").source, Manifest.read(run_dir / "manifest.jsonl").shards


def _documents(shard: Shard, source: SourceConfig, rows: set[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for table in read_shard(shard, source):
        some = table.filter(pc.is_in(table["row"], pa.array(sorted(rows), pa.int32())))
        found |= {record["row"]: record for record in some.to_pylist()}
    return found


def _place(owner: int, shards: list[Shard], source: SourceConfig) -> str:
    number, row = owner >> 32, owner & 0xFFFFFFFF
    document = _documents(shards[number], source, {row}).get(row)
    return f"{document['repo']} {document['path']}" if document else f"shard {number} row {row}"


def _answers(run_dir: Path, limit: int) -> Iterator[dict[str, Any]]:
    """Generated files, accepted ones first, each with the snippet that its request showed the generator."""
    current = json.loads((run_dir / "ledger" / "stages.json").read_text())
    if "verify" not in current:
        return
    root = run_dir / "synthesis"
    found: list[dict[str, Any]] = []
    for path in sorted((root / "plan").glob("*.parquet")):
        answered = root / "requests" / path.name
        verdicts = run_dir / "ledger" / f"verify-{current['verify']}" / f"{path.stem}.arrow"
        if not answered.exists() or not verdicts.exists():
            continue
        reasons = pa.ipc.open_file(pa.OSFile(str(verdicts), "rb")).read_all()["reason"].to_pylist()
        rows = zip(pq.read_table(path).to_pylist(), pq.read_table(answered).to_pylist(), reasons, strict=True)
        found += [
            {
                "request": f"{answer['seed']:016x}-{answer['recipe']}-{answer['sample']}",
                "seed_text": asked["snippet"] or "",
                "text": answer["text"] or answer["error"] or "",
                "verdict": reason or "accepted",
            }
            for asked, answer, reason in rows
        ]
    accepted = [record for record in found if record["verdict"] == "accepted"]
    others = [record for record in found if record["verdict"] != "accepted"]
    yield from accepted[: max(limit - 2, limit - len(others))]
    yield from others[: max(2, limit - len(accepted))]
