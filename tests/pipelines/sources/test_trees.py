"""Directories and Git repositories."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.manifest import build_manifest
from pipelines.sources import SourceConfig, git, read_shard
from snowcoder.base import UserError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    files = {
        "a/x.py": "x = 1\n",
        "a/sub/y.h": "class A {\n};\n",
        "a/notes.txt": "no language\n",
        "a/.git/hook.sh": "no\n",
        "b/empty.js": "",
        "b/deep/er/z.go": "package z\n",
        "top.c": "int x;\n",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (root / "b" / "link.py").symlink_to("/etc/passwd")
    (root / "b" / "loop").symlink_to(root)
    os.mkfifo(root / "b" / "pipe.py")
    return root


def source(path: Path, kind: str = "directory", **fields) -> SourceConfig:
    return SourceConfig(kind=kind, paths=(str(path),), **fields)


def facts(rows) -> set[tuple]:
    return {(row["repo"], row["path"], row["lang"]) for row in rows}


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, {("root", "a/x.py", "Python"), ("root", "a/sub/y.h", "C++"), ("root", "b/empty.js", "JavaScript"),
             ("root", "b/deep/er/z.go", "Go"), ("root", "top.c", "C")}),
        (1, {("a", "x.py", "Python"), ("a", "sub/y.h", "C++"), ("b", "empty.js", "JavaScript"),
             ("b", "deep/er/z.go", "Go"), ("root", "top.c", "C")}),
        (2, {("a", "x.py", "Python"), ("a/sub", "y.h", "C++"), ("b", "empty.js", "JavaScript"),
             ("b/deep", "er/z.go", "Go"), ("root", "top.c", "C")}),
    ],
)  # fmt: skip
def test_folders_at_a_depth_are_repositories(tree: Path, read_source, depth: int, expected: set) -> None:
    rows = read_source(source(tree, repository_depth=depth))
    assert facts(rows) == expected
    assert len(rows) == len(expected)


def test_only_the_languages_that_are_asked_for(tree: Path, read_source) -> None:
    assert facts(read_source(source(tree, languages=("go", "c")))) == {
        ("a", "sub/y.h", "C++"),  # could have been C: told by its name alone
        ("b", "deep/er/z.go", "Go"),
        ("root", "top.c", "C"),
    }


@pytest.mark.parametrize("shard_bytes", [1, 25, 60, 10_000])
def test_a_large_repository_is_cut_and_small_ones_are_whole(tmp_path: Path, shard_bytes: int) -> None:
    for repo, files in (("large", 20), ("small", 3), ("tiny", 1)):
        (tmp_path / repo).mkdir()
        for index in range(files):
            (tmp_path / repo / f"{index:02}.py").write_text("x" * 10)
    cfg = source(tmp_path, shard_bytes=shard_bytes)
    manifest = build_manifest(cfg, 0)
    found = [
        (row["repo"], row["path"])
        for s in manifest.shards
        for t in read_shard(s, cfg)
        for row in t.to_pylist()
    ]
    assert len(found) == len(set(found)) == 24
    assert manifest.summary()["bytes"] == 240
    if shard_bytes == 60:
        assert all(shard.bytes <= 60 for shard in manifest.shards)
        for repo in ("small", "tiny"):
            assert sum(repo in shard.repos for shard in manifest.shards) == 1
    if shard_bytes == 10_000:
        assert len(manifest.shards) == 1


def test_faults_of_files(tmp_path: Path, read_source) -> None:
    (tmp_path / "large.py").write_bytes(b"x" * 101)
    (tmp_path / "bad.py").write_bytes(b"\xff")
    (tmp_path / "nul.py").write_bytes(b"a\0b")
    rows = read_source(source(tmp_path, max_document_bytes=100))
    assert {row["path"]: (row["text"], row["fault"], row["size"]) for row in rows} == {
        "large.py": (None, "too_large", 101),
        "bad.py": (None, "invalid_utf8", 1),
        "nul.py": ("a\0b", None, 3),
    }


def test_a_file_name_that_is_not_unicode(tmp_path: Path, read_source) -> None:
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path) + b"/a/\xff.py", "wb") as file:
        file.write(b"x")
    assert facts(read_source(source(tmp_path))) == {("a", "\ufffd.py", "Python")}


def test_a_deep_tree_is_walked(tmp_path: Path, read_source) -> None:
    """Deeper than Python may recurse; the limit is lowered for it, since whoever clears up recurses too."""
    folder = tmp_path / "/".join("d" * 300)
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        (row,) = read_source(source(tmp_path, repository_depth=0))
    finally:
        sys.setrecursionlimit(limit)
    assert row["path"] == "d/" * 300 + "a.py"


def test_a_tree_that_changed_after_the_manifest_is_refused(tree: Path) -> None:
    cfg = source(tree)
    (shard,) = build_manifest(cfg, 0).shards
    (tree / "a" / "new.py").write_text("x")
    with pytest.raises(UserError, match="changed after the manifest; rebuild it"):
        list(read_shard(shard, cfg))


@pytest.mark.parametrize("cap", [60, 200])
def test_a_repository_is_sampled_down_to_its_cap(tmp_path: Path, read_source, cap: int) -> None:
    (tmp_path / "r").mkdir()
    for index in range(40):
        (tmp_path / "r" / f"{index:02}.{'py' if index < 20 else 'js'}").write_text("x" * 10)
    cfg = source(tmp_path, max_bytes_per_repository=cap)
    rows = read_source(cfg)
    assert len(rows) == cap // 10
    assert {row["lang"] for row in rows} == {"Python", "JavaScript"}
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert read_source(cfg) == rows
    assert len(rows) == len(read_source(source(tmp_path, max_bytes_per_repository=cap, shard_bytes=20)))


# Git


def run_git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tree: Path) -> Path:
    (tree / "a" / ".git" / "hook.sh").unlink()
    (tree / "a" / ".git").rmdir()
    (tree / "b" / "pipe.py").unlink()
    (tree / "b" / "untracked.py").write_text("x = 2\n")
    (tree / ".gitignore").write_text("untracked.py\n")
    run_git(tree, "init")
    run_git(tree, "add", ".")
    run_git(tree, "commit", "-m", "first")
    return tree


def test_git_reads_the_files_of_the_commit(checkout: Path, read_source) -> None:
    (checkout / "a" / "x.py").write_text("dirty\n")
    rows = read_source(source(checkout, "git"))
    assert {(row["path"], row["text"]) for row in rows} == {
        ("a/x.py", "x = 1\n"),
        ("a/sub/y.h", "class A {\n};\n"),
        ("b/empty.js", ""),
        ("b/deep/er/z.go", "package z\n"),
        ("top.c", "int x;\n"),
    }
    (name,) = {row["repo"] for row in rows}
    commit = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True)
    assert name == f"root@{commit[:12]}"


def test_git_finds_repositories_in_a_folder_also_bare_ones(checkout: Path, read_source) -> None:
    run_git(checkout.parent, "clone", "--bare", str(checkout), "copy.git")
    (checkout.parent / "plain").mkdir()
    rows = read_source(source(checkout.parent, "git"))
    assert len(rows) == 10
    assert {str(row["repo"]).split("@")[0] for row in rows} == {"root", "copy"}


def test_git_keeps_faults_in_their_places(tmp_path: Path, read_source, monkeypatch) -> None:
    monkeypatch.setattr(git, "_REQUESTS", 3)
    run_git(tmp_path, "init")
    for index in range(10):
        (tmp_path / f"{index}.py").write_bytes(b"x" * (200 if index % 4 == 1 else index))
    (tmp_path / "9.py").write_bytes(b"\xff")
    run_git(tmp_path, "add", ".")
    run_git(tmp_path, "commit", "-m", "first")
    rows = read_source(source(tmp_path, "git", max_document_bytes=100))
    assert [row["fault"] for row in rows] == [
        "too_large" if i in (1, 5) else "invalid_utf8" if i == 9 else None for i in range(10)
    ]
    assert [row["text"] for row in rows if row["text"] is not None] == [
        "x" * i for i in (0, 2, 3, 4, 6, 7, 8)
    ]


def test_a_new_commit_after_the_manifest_is_refused(checkout: Path) -> None:
    cfg = source(checkout, "git")
    (shard,) = build_manifest(cfg, 0).shards
    (checkout / "top.c").write_text("int y;\n")
    run_git(checkout, "commit", "-am", "second")
    with pytest.raises(UserError, match="changed after the manifest"):
        list(read_shard(shard, cfg))


def test_a_repository_without_a_commit_says_so(tmp_path: Path) -> None:
    run_git(tmp_path, "init")
    with pytest.raises(UserError, match="git rev-parse failed"):
        build_manifest(source(tmp_path, "git"), 0)


def test_a_missing_object_is_a_row(checkout: Path, read_source) -> None:
    blob = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD:top.c"], text=True).strip()
    lost = checkout / ".git" / "objects" / blob[:2] / blob[2:]
    lost.chmod(0o600)
    lost.unlink()
    rows = read_source(source(checkout, "git"))
    assert [row["fault"] for row in rows if row["path"] == "top.c"] == ["unreadable"]
    assert sum(row["fault"] is None for row in rows) == 4
