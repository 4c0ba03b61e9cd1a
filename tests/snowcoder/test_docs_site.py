"""The pages as a site: strict build, nothing fetched from elsewhere, generated pages as their code makes them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml

from snowcoder import settings_page
from snowcoder.config import CurationConfig
from tests.snowcoder.test_kuberay import tool

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [tool("mkdocs"), "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= 15
    loaded = re.compile(r"<(?:script|img|iframe)[^>]+src=\"?https?://|<link[^>]+stylesheet[^>]+https?://")
    for page in pages:
        assert not loaded.search(page.read_text()), page.name


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"[\w/]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert len(menu) == len(set(menu))
    assert set(menu) == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_the_settings_page_is_the_generated_one_and_names_every_setting() -> None:
    page = settings_page.PATH.read_text()
    assert page == settings_page.text(), "run `python -m snowcoder.settings_page`"
    for name in ("min_confidence", "max_line", *CurationConfig.model_fields):
        assert f"| `{name}` |" in page
