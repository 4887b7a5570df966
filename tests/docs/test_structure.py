"""The pages hang together: paths, links, lengths, numbers; and nothing of a machine is in here."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import DECISIONS, README, ROOT, all_pages, fenced, name_of, prose_of

ARCHITECTURE = ROOT / "ARCHITECTURE.md"
INDEXES = ROOT / "docs/internals/indexes.md"
HOSTS = {"example.com", "example.org", "db.example", "www.apache.org", "keepachangelog.com"}
LOCAL = {"localhost", "127.0.0.1", "db", "@", "kong"}
# written so that this file does not match itself
MACHINE = re.compile(r"(?<![\w.])/(?:wor[k]|far[m]|hom[e]/\w|User[s]/\w|tmp/pg1[8]|tmp/pla[n])\b")
REGISTRY = re.compile(
    r"\b(?:(?:registry|index|proxy|files|mirrors?|packages|repo|conda)\.[\w-]+\.|p[y]pi\.|ghc[r]\.|qua[y]\.)"
    r"(?:\w+\.)?(?:org|com|io|net|dev)\b"
)


def test_the_first_pages_are_short() -> None:
    assert len(README.read_text().splitlines()) <= 120
    assert len(ARCHITECTURE.read_text().splitlines()) <= 150


def test_every_path_that_the_architecture_names_exists() -> None:
    named = set(
        re.findall(
            r"`((?:src|docs|tests|examples|tools|bench)/[^`]*|run\.py)`", ARCHITECTURE.read_text()
        )
    )
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_table_is_in_the_architecture_and_every_index_says_what_it_serves() -> None:
    schema = (ROOT / "tests/db/golden/schema.sql").read_text()
    tables = re.findall(r"^CREATE TABLE pgflow\.(\w+)", schema, re.M)
    indexes = re.findall(r"^CREATE (?:UNIQUE )?INDEX (\w+) ON pgflow\.", schema, re.M)
    architecture, page = ARCHITECTURE.read_text(), INDEXES.read_text()
    assert len(tables) > 30 and len(indexes) > 25
    assert [name for name in tables if f"`{name}`" not in architecture] == []
    assert [name for name in indexes if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", all_pages(), ids=name_of)
def test_paths_of_the_source_exist(page: Path) -> None:
    if page.name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        return
    named = set(re.findall(r"`((?:src|docs|tests|examples)/[\w./-]+)`", prose_of(page)))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", all_pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    said = re.sub(r"(?<!\[)`[^`\n]*`", "", prose_of(page))  # code is not a link
    for target in re.findall(r"\]\(([^)\s]+)\)", said):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors_of(found), f"{name_of(page)}: {target}"


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    text = README.read_text() + ARCHITECTURE.read_text()
    for page in ROOT.glob("docs/**/*.md"):
        near = name_of(page) in text or name_of(page.parent) + "/" in text
        assert near, name_of(page)


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]} "), page.name
        for part in ("**Context.**", "**Choice.**", "**Cost.**", "**What would change our mind.**"):
            assert part in text, f"{page.name} lacks {part}"
        assert len(text.splitlines()) <= 60, f"{page.name}: one page"


def test_fences_are_closed() -> None:
    for page in all_pages():
        list(fenced(page))


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_registry_and_no_machine_is_named_anywhere() -> None:
    found: list[str] = []
    for path in committed():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_addresses_are_made_up_or_known() -> None:
    found: list[str] = []
    for path in committed():
        if path.suffix not in (".md", ".py", ".toml", ".lock", ".sql", ".yml", ".yaml", ""):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for host in re.findall(r"https?://([\w.-]+\w)", text):
            if host not in HOSTS | LOCAL and not host.endswith(
                (".example", ".example.org", ".example.com")
            ):
                found.append(f"{name_of(path)}: {host}")
    assert found == []
