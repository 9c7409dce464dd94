"""The documents: links lead somewhere, tables are those of the result files, commands end as they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import documents, markdown
from tools.docs import console

ROOT = console.ROOT
PAGES = console.pages()
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
OLD_WORDS = ("by heart", "foreign string", "domain head", "shortcut", "own labels", "peers", "in turns of")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tables_are_those_of_the_result_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert markdown.filled(text, documents.BLOCKS, page.name) == text, "run python -m benchmarks.documents"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", [p for p in PAGES if console.BLOCK.search(p.read_text(encoding="utf-8"))], ids=lambda p: p.stem)
def test_commands_print_what_the_page_shows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    with console.place() as folder:
        assert console.refreshed(text, Path(folder), page.name) == text, "run python -m tools.docs.console"


def test_a_page_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    page = "```console\n$ echo 1\n2\n```\n"
    assert console.refreshed(page, tmp_path) == "```console\n$ echo 1\n1\n```\n"
    with pytest.raises(RuntimeError, match="ended with 3"):
        console.refreshed("```sh\nexit 3\n```\n", tmp_path)
    with pytest.raises(ValueError, match="no block is called 'none'"):
        markdown.filled("<!-- none -->\n<!-- end -->", documents.BLOCKS, "page")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_user_documents_speak_of_today(page: Path) -> None:
    if page.name in ("reproduce-the-model.md", "model-card.md"):
        return
    text = page.read_text(encoding="utf-8").lower()
    assert re.findall(r"(?:version|model) [3-8]\b", text) == []
    assert [word for word in OLD_WORDS if word in text] == []


def test_every_page_is_in_the_index_and_the_readme_is_short() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    left_out = [str(p) for p in PAGES[1:] if p.name != "index.md" and str(p.relative_to(ROOT / "docs")) not in index]
    assert left_out == []
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
