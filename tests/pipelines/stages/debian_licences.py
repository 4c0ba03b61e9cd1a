"""Licences by header, against Debian's machine-readable debian/copyright of the same packages.

    python -m tests.pipelines.stages.debian_licences CORPUS [--check]

CORPUS is a directory that `benchmarks/corpus.py` built: Parquet files, and `_copyright/deb_NAME@VERSION` for each
Debian package. Prints the table of docs/licences_and_secrets.md; `--check` exits with 1 below the floors. Debian
states a licence for every file, also for those that do not say it themselves: the comparison is over files whose
header names one. Where a stanza covers a directory in which some files are under something else, Debian is the coarser.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.schema import DOCUMENT
from pipelines.stages.licence import LicenceConfig, judge_licence
from pipelines.stages.spdx import PERMISSIVE, parsed, satisfied

SAME, SAME_PERMISSIVE = 0.94, 0.99  # floors

# Debian's short names that are no SPDX ids (copyright-format 1.0, section 7.2), and what these packages call theirs.
_NAMES = {
    "expat": "MIT",
    "expat with embedded exception": "MIT",
    "mit": "MIT",
    "artistic": "Artistic-1.0-Perl",
    "boost-1.0": "BSL-1.0",
    "bsl": "BSL-1.0",
    "apache-2": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "bsd-c3": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "cc0": "CC0-1.0",
    "epl-1": "EPL-1.0",
    "mpl-2": "MPL-2.0",
    "mpl-2.0+": "MPL-2.0",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "public-domain": "LicenseRef-scancode-public-domain",
    "python": "PSF-2.0",
    "u-of-i-bsd-like": "NCSA",
}
_GNU = re.compile(r"(a?gpl|lgpl)-?v?(\d(?:\.\d)?)(\+?)")


def spdx_of_debian(synopsis: str) -> str:
    """Debian's licence synopsis as an SPDX expression, exceptions left out; as it is where a name is unknown."""
    words = re.sub(r",?\s+with\s+\S+(?:\s+\S+)?\s+exception", "", synopsis.strip(), flags=re.IGNORECASE)
    parts = []
    for part in re.split(r"\s*,?\s+(and|or|and/or)\s+", words):
        name = part.strip(" ,").lower()
        if part in ("and", "or", "and/or"):
            parts.append("OR" if part != "and" else "AND")
        elif match := _GNU.fullmatch(name):
            version = match[2] if "." in match[2] else f"{match[2]}.0"
            parts.append(f"{match[1].upper()}-{version}-{'or-later' if match[3] else 'only'}")
        else:
            parts.append(_NAMES.get(name) or parsed(name) or name)
    return parsed(" ".join(parts)) or synopsis


def load(corpus: Path) -> tuple[pa.Table, list[str]]:
    """(documents of the Debian packages that Debian states a licence of, those licences)."""
    from debian.copyright import Copyright, NotMachineReadableError

    logging.getLogger("debian.copyright").setLevel(logging.ERROR)
    files = {}
    for path in sorted((corpus / "_copyright").glob("deb_*")):
        name = path.name.removeprefix("deb_").partition("@")[0]
        try:
            files[name] = Copyright(path.read_text(encoding="utf-8").splitlines(True), strict=False)
        except NotMachineReadableError:
            continue
    tables = [pq.read_table(path) for path in sorted(corpus.glob("*.parquet"))]
    table = pa.concat_tables([part.filter(pc.equal(part["kind"], "deb")) for part in tables])
    packages, paths = table["package"].to_pylist(), table["path"].to_pylist()
    tops = defaultdict(set)
    for package, path in zip(packages, paths, strict=True):
        tops[package].add(path.partition("/")[0] if "/" in path else "")
    rows, truth = [], []
    for row, (package, path) in enumerate(zip(packages, paths, strict=True)):
        if package not in files:
            continue
        # Stanzas are relative to the folder that the archive unpacks to.
        stanza = files[package].find_files_paragraph(
            path.partition("/")[2] if len(tops[package]) == 1 else path
        )
        if stanza is not None and stanza.license is not None:
            rows.append(row)
            truth.append(spdx_of_debian(stanza.license.synopsis))
    table = table.take(pa.array(rows, pa.int64()))
    n = table.num_rows
    columns = {
        "row": range(n),
        "repo": table["package"],
        "path": table["path"],
        "lang": table["lang"],
        "license": [""] * n,
        "size": table["size"],
        "text": table["content"],
        "fault": [None] * n,
    }
    return pa.table(columns).cast(DOCUMENT), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    docs, truth = load(arguments.corpus)
    said = judge_licence(docs, LicenceConfig())["spdx"].to_pylist()
    named = [(ours, theirs) for ours, theirs in zip(said, truth, strict=True) if ours]
    files, stated = Counter(truth), Counter(theirs for _, theirs in named)
    ours, same = Counter(ours for ours, _ in named), Counter(one for one, other in named if one == other)
    print("| licence | files | header names a licence | recall | precision |\n|---|---|---|---|---|")
    for name, count in files.most_common():
        if stated[name] >= 20:
            recall, precision = same[name] / stated[name], same[name] / max(ours[name], 1)
            print(f"| {name} | {count} | {stated[name]} | {recall:.3f} | {precision:.3f} |")
    total = sum(same.values()) / len(named)
    alike = sum(satisfied(a, PERMISSIVE) == satisfied(b, PERMISSIVE) for a, b in named) / len(named)
    print(f"| all | {len(truth)} | {len(named)} | {total:.3f} | |")
    print(f"permissive or not, as Debian: {alike:.4f}")
    if arguments.check and (total < SAME or alike < SAME_PERMISSIVE):
        sys.exit(1)


if __name__ == "__main__":
    main()
