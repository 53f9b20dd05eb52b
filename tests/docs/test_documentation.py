"""Every code block of the README and of docs/ runs and prints what the page says; every internal link has a target.

The blocks of a page run in order, in one namespace and one temporary folder.

* ``python``: executed. A ``text`` block right behind it is the output; ``...`` stands for anything.
* ``console``: lines that begin with ``$ streamgmm`` are run. Output behind them is compared unless it is left out.
* Other languages (``bash`` for installation, ``text`` that stands alone) are not run.
"""

import contextlib
import doctest
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import markdown_pages as pages
import pytest

from streamgmm.cli import main

CHECKER = doctest.OutputChecker()
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
RUN = ("python", "console")
GUIDE = pages.ROOT / "docs" / "maintainers.md"  # its code is a test file


def name_of(page: Path) -> str:
    return page.relative_to(pages.ROOT).as_posix()


def check_output(page: Path, line: int, expected: str, printed: str) -> None:
    assert CHECKER.check_output(expected, printed, OPTIONS), (
        f"{name_of(page)}:{line} says\n{expected}\nbut what is printed is\n{printed}"
    )


def run_python(page: Path, block: pages.Block, namespace: dict) -> str:
    """Execute a block so that tracebacks name the page and the line; return what it prints."""
    code = compile("\n" * (block.line - 1) + block.content, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def run_console(page: Path, block: pages.Block) -> None:
    """Run the commands of a block, and compare what follows each."""
    commands: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(block.content.splitlines(), start=block.line):
        if line.startswith("$ "):
            commands.append((number, line[2:], []))
        else:
            commands[-1][2].append(line)
    for number, command, output in commands:
        words = shlex.split(command)
        assert words[0] == "streamgmm", f"{name_of(page)}:{number}: only streamgmm's own commands are run"
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(words[1:]) == 0, f"{name_of(page)}:{number}: {command} failed"
        if output:
            check_output(page, number, "\n".join(output) + "\n", printed.getvalue())


@pytest.mark.parametrize("page", pages.PAGES, ids=name_of)
def test_code_blocks_of_a_page_run_and_print_what_it_says(page, tmp_path, monkeypatch):
    blocks = pages.split_page(page)[0]
    if page == GUIDE or not any(block.language in RUN for block in blocks):
        pytest.skip("has no code to run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("COLUMNS", "120")
    namespace = {"__name__": "page"}
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language == "console":
            run_console(page, block)
        elif block.language == "python":
            printed = run_python(page, block, namespace)
            is_output = following is not None and following.language == "text"
            if is_output and following.line == block.line + len(block.content.splitlines()) + 3:
                check_output(page, following.line, following.content, printed)


@pytest.mark.long
def test_what_the_maintainers_guide_adds_passes_the_suites_that_it_inherits(tmp_path):
    code = [block.content for block in pages.split_page(GUIDE)[0] if block.language == "python"]
    (tmp_path / "test_guide.py").write_text("\n".join(code))
    shutil.copy(pages.ROOT / "tests" / "conftest.py", tmp_path)
    options = ["-q", "-n", "0", "-c", str(pages.ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", str(tmp_path / "test_guide.py")]
    done = subprocess.run(command, cwd=pages.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5_000:]


@pytest.mark.parametrize("page", pages.PAGES, ids=name_of)
def test_internal_links_of_a_page_have_targets(page):
    broken = []
    for line, link in pages.links_of(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_found = target.exists() and (not anchor or target.suffix != ".md" or anchor in pages.anchors_of(target))
        broken += [] if is_found else [f"{name_of(page)}:{line}: {link}"]
    assert broken == []


@pytest.mark.parametrize("page", pages.PAGES, ids=name_of)
def test_paths_of_tests_that_a_page_names_exist(page):
    named = set(re.findall(r"\b(?:tests|benchmarks)/[\w/.]*\w", page.read_text()))
    assert [path for path in sorted(named) if not (pages.ROOT / path).exists()] == []


def test_the_readme_has_at_most_150_lines():
    assert len((pages.ROOT / "README.md").read_text().splitlines()) <= 150
