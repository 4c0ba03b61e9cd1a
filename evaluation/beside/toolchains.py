"""How a program of each language is compiled and started, and what Debian package brings the tools."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from snowcoder.base import UserError

NOT_COMPILED = 90  # the script's exit code when the compiler refuses
JAVA_TUPLES = Path("/usr/share/java/javatuples.jar")  # MultiPL-E's Java prompts import it


@dataclass(frozen=True)
class Toolchain:
    """One language. `script` runs in a folder with `file`: compile, or exit with NOT_COMPILED, then run."""

    file: str
    script: str
    tools: tuple[str, ...]
    package: str
    environment: Mapping[str, str] = field(default_factory=dict)
    readable: tuple[Path, ...] = ()
    heap: bool = False  # a virtual machine: its own heap limit counts, not address space


_TOOLCHAINS = {
    "C++": Toolchain("main.cpp", "g++ -std=c++17 -O1 -w main.cpp -o main || exit 90; exec ./main", ("g++",), "g++"),
    "Java": Toolchain(
        "Problem.java",
        f"javac -J-Xmx512m -J-XX:+UseSerialGC -nowarn -cp .:{JAVA_TUPLES} -d . Problem.java 2>&1 || exit 90; "
        f"exec java -ea -Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp .:{JAVA_TUPLES} Problem",
        ("javac", "java"),
        "default-jdk-headless and libjavatuples-java",
        heap=True,
    ),
    "JavaScript": Toolchain("main.js", "exec node --max-old-space-size=1024 main.js", ("node",), "nodejs", heap=True),
    "TypeScript": Toolchain(
        "main.ts",
        "tsc --target es2020 --lib es2020,dom main.ts || exit 90; "
        "exec node --max-old-space-size=1024 main.js",
        ("tsc", "node"),
        "node-typescript",
        heap=True,
    ),
    "PHP": Toolchain("main.php", "exec php -n -d memory_limit=1G main.php", ("php",), "php-cli"),
    "Rust": Toolchain(
        "main.rs", "rustc --edition 2021 -A warnings -C opt-level=1 main.rs -o main || exit 90; exec ./main",
        ("rustc", "cc"), "rustc",
    ),
    "Go": Toolchain(
        "main_test.go",
        "go test -c -vet=off -o main main_test.go || exit 90; exec ./main",
        ("go",),
        "golang-go",
        {"GO111MODULE": "off", "GOCACHE": "/tmp/.go", "GOFLAGS": "-p=1", "GOTOOLCHAIN": "local", "GOMAXPROCS": "2"},
        heap=True,
    ),
}  # fmt: skip


@functools.cache
def toolchain(language: str) -> Toolchain:
    """The language's tools on this host. UserError naming the Debian package when they are not installed."""
    known = _TOOLCHAINS[language]
    missing = [tool for tool in known.tools if shutil.which(tool) is None]
    if language == "Java" and not JAVA_TUPLES.exists():
        missing.append(str(JAVA_TUPLES))
    if missing:
        raise UserError(
            f"{language}: {' and '.join(missing)} not found: apt-get install {known.package.replace(' and ', ' ')}"
        )
    folders = {Path(shutil.which(tool) or "").resolve().parent for tool in known.tools}
    readable: list[Path] = [folder for folder in folders if not folder.is_relative_to("/usr")]
    environment = dict(known.environment)
    if language == "Rust":  # rustup's `rustc` is a proxy that looks into a home which the sandbox has not
        done = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(f"Rust: rustc does not run ({done.stderr.strip()[:200]}): apt-get install rustc")
        sysroot = Path(done.stdout.strip())
        readable = [sysroot] if not sysroot.is_relative_to("/usr") else []
        environment["PATH"] = os.pathsep.join([str(sysroot / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
    return Toolchain(
        known.file, known.script, known.tools, known.package, environment, tuple(readable), known.heap
    )
