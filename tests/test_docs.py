"""Every Python block of the documentation runs, and every link between its pages leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "packages/*/README.md")
    for page in ROOT.glob(pattern)
)
BLOCK = re.compile(
    r"^(?P<mark><!-- not run: [^\n]+ -->\n)?^```(?P<language>[^\n`]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NEEDS = re.compile(r"^<!-- needs: (?P<distribution>[\w-]+) -->$", re.MULTILINE)
WARNS = re.compile(r"^<!-- warns: (?P<category>\w+) -->$", re.MULTILINE)
LANGUAGES = {"", "bash", "console", "json", "mermaid", "python", "text", "toml", "yaml"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def script_of(text: str) -> str:
    """Return a page's Python blocks as one script, each line where it stands in the page.

    A block is left out only when the line above says why: ``<!-- not run: it needs a GPU -->``.
    """
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block["language"] == "python" and not block["mark"]:
            first = text.count("\n", 0, block.start("code"))
            code = block["code"].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def require_what_it_needs(text: str) -> None:
    """Skip a page whose framework is not installed; ``<!-- needs: backtester-model-torch -->`` names the package."""
    for need in NEEDS.finditer(text):
        try:
            version(need["distribution"])
        except PackageNotFoundError:
            pytest.skip(f"{need['distribution']} is not installed")


def warnings_of(text: str) -> list[str]:
    """Return how Python is to take warnings: as errors, but for those that a page's framework is known to raise."""
    allowed = [f"-Wignore::{mark['category']}" for mark in WARNS.finditer(text)]
    return ["-Werror", *allowed]


def run(script: Path, folder: Path, *, flags: Sequence[str] = ("-Werror",)) -> None:
    """Run a script in a folder of its own, so that what it registers or writes is gone afterwards."""
    done = subprocess.run(
        [sys.executable, *flags, str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if script_of(page.read_text()).strip()], ids=name_of)
def test_the_python_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    require_what_it_needs(page.read_text())
    script = tmp_path / f"{page.stem}.md.py"
    script.write_text(script_of(page.read_text()))

    run(script, tmp_path, flags=warnings_of(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_hides_behind_its_fence(page: Path) -> None:
    blocks = list(BLOCK.finditer(page.read_text()))

    n_fences = len(re.findall(r"^\s*(?:```|~~~)", page.read_text(), re.MULTILINE))

    assert {block["language"] for block in blocks} <= LANGUAGES
    assert n_fences == 2 * len(blocks)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_a_block_that_fails_is_found_at_its_line(tmp_path: Path) -> None:
    page = "# Title\n\n```python\nx = 1\n```\n\nand then\n\n```python\nraise ValueError(x)\n```\n"
    script = tmp_path / "page.py"
    script.write_text(script_of(page))

    with pytest.raises(AssertionError, match=r"(?s)line 10.*ValueError: 1"):
        run(script, tmp_path)


def test_a_block_is_left_out_only_with_a_reason() -> None:
    page = "<!-- not run: it needs a GPU -->\n```python\nraise ValueError\n```\n```python\nx = 1\n```\n"

    assert script_of(page).split() == ["x", "=", "1"]


def test_a_page_is_skipped_only_for_a_package_that_is_not_installed() -> None:
    require_what_it_needs("<!-- needs: backtester-model-core -->\n")

    with pytest.raises(pytest.skip.Exception, match="backtester-model-nowhere is not installed"):
        require_what_it_needs("# Title\n\n<!-- needs: backtester-model-nowhere -->\n")


def test_a_warning_is_an_error_unless_the_page_names_its_kind(tmp_path: Path) -> None:
    page = "```python\nimport warnings\n\nwarnings.warn('old', DeprecationWarning)\n```\n"
    script = tmp_path / "page.py"
    script.write_text(script_of(page))

    run(script, tmp_path, flags=warnings_of(page + "<!-- warns: DeprecationWarning -->\n"))

    with pytest.raises(AssertionError, match="DeprecationWarning: old"):
        run(script, tmp_path, flags=warnings_of(page + "<!-- warns: FutureWarning -->\n"))
