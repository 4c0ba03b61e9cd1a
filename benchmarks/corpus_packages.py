"""Fetching pinned source packages with their own clients (pip, npm, apt-get) and checking them against hashes.

A lock file names packages, one `kind name version` a line; a hash file has one `sha256 bytes kind/name@version/file`
a line. Nothing is installed: wheels, npm tarballs and Debian source archives stay files. What is on disk with the
right hash is not fetched again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from snowcoder.base import UserError

KINDS = ("pypi", "npm", "deb")
RELEASE = "bookworm"
"""The Debian release whose source packages the lists pin."""
ARCHIVE_SUFFIXES = (".whl", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, order=True)
class Package:
    kind: str
    name: str
    version: str

    @property
    def folder(self) -> str:
        name, version = self.name.replace("/", "__"), urllib.parse.quote(self.version, safe="+~").lower()
        return f"{self.kind}/{name}@{version}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.version}"


@dataclass(frozen=True)
class LockedFile:
    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Fetched:
    """The archives of one package, in the order in which they are read; none when it could not be fetched."""

    package: Package
    archives: tuple[Path, ...]
    problem: str = ""


def read_lock(path: Path) -> list[Package]:
    """The packages of a lock file, in its order. Raises UserError on a line that is not `kind name version`."""
    packages = []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) != 3 or fields[0] not in KINDS:
            raise UserError(f"{path}:{number}: want `kind name version` with kind one of {', '.join(KINDS)}")
        packages.append(Package(*fields))
    return packages


def read_hashes(path: Path) -> dict[str, tuple[LockedFile, ...]]:
    """Package folder -> its files, by name. Raises UserError on a malformed line."""
    found: dict[str, list[LockedFile]] = defaultdict(list)
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) != 3 or len(fields[0]) != 64 or not fields[1].isdigit() or fields[2].count("/") != 2:
            raise UserError(f"{path}:{number}: want `sha256 bytes kind/name@version/file`")
        folder, _, name = fields[2].rpartition("/")
        found[folder].append(LockedFile(name, fields[0], int(fields[1])))
    return {folder: tuple(sorted(files, key=lambda file: file.name)) for folder, files in found.items()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give --lock and --sha") from error


def fetch(package: Package, locked: tuple[LockedFile, ...], cache: Path, mirror: str | None) -> Fetched:
    """Bring one package's files under `cache`, or find them there.

    A package that its registry no longer has is a problem, not an error: others can do without it. A file whose
    hash is not the pinned one is a UserError.
    """
    if not any(file.name.endswith(ARCHIVE_SUFFIXES) for file in locked):
        return Fetched(package, (), "the hash file has no archive of it")
    folder = cache / package.folder
    if not all((folder / file.name).is_file() for file in locked):
        arriving = folder.with_name(f".{folder.name}")  # so that what is cut off is not taken for a download
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir(parents=True)
        problem = _run(_command(package, cache, mirror), arriving)
        if missing := [file.name for file in locked if not (arriving / file.name).is_file()]:
            shutil.rmtree(arriving)
            return Fetched(package, (), problem or f"{package.kind} brought no {missing[0]}")
        shutil.rmtree(folder, ignore_errors=True)
        arriving.rename(folder)
    for file in locked:
        _check(folder / file.name, file)
    archives = (folder / file.name for file in locked if file.name.endswith(ARCHIVE_SUFFIXES))
    return Fetched(package, tuple(archives))


def _check(path: Path, file: LockedFile) -> None:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        raise UserError(
            f"{path}: its SHA-256 {digest[:12]}… is not the pinned {file.sha256[:12]}…; delete it and fetch again, "
            "or take the package off the list"
        )


def _command(package: Package, cache: Path, mirror: str | None) -> list[str]:
    if package.kind == "pypi":
        pin = f"{package.name}=={package.version}"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        return [*pip, "download", "--no-deps", "--only-binary", ":all:", pin]
    if package.kind == "npm":
        return ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    pin = f"{package.name}={package.version}"
    return [*_apt(cache, mirror), "-q", "source", "--download-only", pin]


def _run(command: list[str], folder: Path) -> str:
    """The last line of what the client complains about, "" when it ends well."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UserError(f"{command[0]}: not found; install it or take its packages off the list") from error
    if done.returncode == 0:
        return ""
    return (done.stderr.strip() or done.stdout.strip() or f"{command[0]} failed").splitlines()[-1]


def _apt(cache: Path, mirror: str | None) -> list[str]:
    """apt-get with a source list of our own, so that the system's is neither needed nor changed."""
    home = (cache / "apt").resolve()
    command = [
        "apt-get",
        "-o", f"Dir::Etc::sourcelist={home}/debian.sources",
        "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", f"Dir::State::lists={home}/lists",
        "-o", f"Dir::Cache={home}/cache",
        "-o", "APT::Sandbox::User=",
    ]  # fmt: skip
    if not (home / "ready").exists():
        (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (home / "cache").mkdir(exist_ok=True)
        uri = mirror or _system_mirror()
        (home / "debian.sources").write_text(
            f"Types: deb-src\nURIs: {uri}\nSuites: {RELEASE}\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        )
        if problem := _run([*command, "-q", "update"], home):
            raise UserError(
                f"apt-get update of {uri} failed ({problem}); give --mirror or drop the deb packages"
            )
        (home / "ready").touch()
    return command


def _system_mirror() -> str:
    """Where this system's own package lists of the release come from."""
    query = [
        "apt-get",
        "indextargets",
        "Created-By: Packages",
        f"Codename: {RELEASE}",
        "--format",
        "$(REPO_URI)",
    ]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    except FileNotFoundError as error:
        raise UserError(
            "apt-get: not found; use a Debian system or take the deb packages off the list"
        ) from error
    if not found:
        raise UserError(f"apt-get knows no mirror of Debian {RELEASE} here; give --mirror URI")
    return found[0]
