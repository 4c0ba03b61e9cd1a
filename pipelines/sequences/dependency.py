"""Files after those that they import, as in DeepSeek-Coder (arXiv 2401.14196, section 2.2).

What a file imports is read by regular expressions and looked for among the files of its own repository: a name that
leads to none of them, such as a library's, is no edge. Expressions see commented-out imports too and miss computed
ones; both only cost order.
"""

from __future__ import annotations

import heapq
import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+\(?([^)\n#]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([\w., \t]+)", re.MULTILINE)
_SCRIPT = re.compile(r"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*["']([^"'\n]+)["']""")
_JAVA = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+)", re.MULTILINE)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[\"<]([^\">\n]+)[\">]", re.MULTILINE)

_READ = 1 << 16  # characters of a file in which imports are looked for
_C_LIKE = {"C", "C++", "CUDA", "Objective-C"}
_SCRIPTS = {"JavaScript", "TypeScript", "TSX", "JSX", "Vue", "Svelte"}
_JAVA_LIKE = {"Java", "Kotlin", "Scala", "Groovy"}
_PYTHON = {"Python", "Cython"}


@dataclass(frozen=True)
class File:
    """What ordering needs of a file: its path and the paths that it names, as suffixes of paths or relative to it."""

    path: str
    named: tuple[str, ...]


def file_of(path: str, lang: str, text: str) -> File:
    """The file with what it imports. An unknown language imports nothing."""
    path = posixpath.normpath(path).lstrip("/")
    head = text[:_READ]
    if lang in _PYTHON:
        named = _python(head)
    elif lang in _SCRIPTS:
        named = [name for name in _SCRIPT.findall(head) if name.startswith(".")]
    elif lang in _JAVA_LIKE:
        named = [name.replace(".", "/") for name in _JAVA.findall(head)]
    elif lang in _C_LIKE:
        named = _INCLUDE.findall(head)
    else:
        named = []
    return File(path, tuple(dict.fromkeys(named)))


def _python(text: str) -> list[str]:
    named = []
    for dots, module, names in _FROM.findall(text):
        base = ("./" + "../" * (len(dots) - 1) if dots else "") + module.replace(".", "/")
        inner = [part.split(" as ")[0].strip() for part in names.split(",")]
        named += [posixpath.join(base, name) for name in inner if name.isidentifier()]
        named.append(base)
    for modules in _IMPORT.findall(text):
        named += [part.split(" as ")[0].strip().replace(".", "/") for part in modules.split(",")]
    return [name for name in named if name]


class _Paths:
    """The files of one repository by every tail of their path, with and without what ends it."""

    def __init__(self, files: Sequence[File]):
        self.files = files
        self.by_tail: dict[str, list[int]] = defaultdict(list)
        for number, file in enumerate(files):
            for whole in _names(file.path):
                parts = whole.split("/")
                for begin in range(len(parts)):
                    self.by_tail["/".join(parts[begin:])].append(number)

    def find(self, number: int, name: str) -> int | None:
        """The file that `name` means in file `number`: relative to it first, else the shortest path that ends so."""
        path = self.files[number].path
        near = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        for found in self.by_tail.get(near, ()):
            if found != number and near in _names(self.files[found].path):
                return found
        if name.startswith("."):
            return None
        ends = [found for found in self.by_tail.get(posixpath.normpath(name), ()) if found != number]
        return min(ends, key=lambda n: (len(self.files[n].path), self.files[n].path), default=None)


def _names(path: str) -> tuple[str, ...]:
    """How a file may be named: its path, without extension, and its folder where it stands for that."""
    stem = posixpath.splitext(path)[0]
    folder, last = posixpath.split(stem)
    return (path, stem, folder) if folder and last in ("__init__", "index") else (path, stem)


def imports(files: Sequence[File]) -> list[set[int]]:
    """For each file of one repository, the others that it imports."""
    paths = _Paths(files)
    found = []
    for number, file in enumerate(files):
        targets = (paths.find(number, name) for name in file.named)
        found.append({target for target in targets if target is not None})
    return found


def dependency_order(files: Sequence[File]) -> list[int]:
    """Numbers of `files`, imported ones first; otherwise in the order given.

    A circle is entered at the file with the fewest imports that are not placed yet, the lowest path among equals.
    """
    needs = imports(files)
    users: dict[int, list[int]] = defaultdict(list)
    for number, targets in enumerate(needs):
        for target in targets:
            users[target].append(number)
    left = [len(targets) for targets in needs]
    by_path = sorted(range(len(files)), key=lambda n: (files[n].path, n))
    rank = {number: place for place, number in enumerate(by_path)}

    def key(number: int) -> tuple[int, int, int]:
        return left[number], number if left[number] == 0 else rank[number], number

    heap = [key(number) for number in range(len(files))]
    heapq.heapify(heap)
    order: list[int] = []
    placed = [False] * len(files)
    while heap:
        open_imports, _, number = heapq.heappop(heap)
        if placed[number] or open_imports != left[number]:
            continue  # an older entry of a file that has moved up since
        placed[number] = True
        order.append(number)
        for user in users[number]:
            if not placed[user]:
                left[user] -= 1
                heapq.heappush(heap, key(user))
    return order
