"""Every fenced block does what the page says: Python and SQL run, data can be read."""

import json
import tomllib
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.docs.notebook import Notebook, compiled
from tests.docs.pages import ROOT, Block, all_pages, blocks_of, name_of, pages_with
from tests.servers import DatabaseServer

LANGUAGES = {"python", "sql", "sh", "toml", "json", "text", "ini"}
FRAGMENTS = 4  # of all pages together; a block that does not run is a promise nobody keeps


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", pages_with("python", "sql"), ids=name_of)
def test_the_blocks_of_a_page_run(
    page: Path,
    dsn: str,
    server: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("DATABASE_URL", as_url(dsn))
    monkeypatch.setenv("STEPWELL_TEST_DSN", server.maintenance)  # where kits make databases
    monkeypatch.chdir(tmp_path)
    with Notebook(dsn) as notebook:
        for block in blocks_of(page, "python", "sql"):
            if block.is_fragment:
                compiled(block)
            else:
                notebook.run(block)


def as_url(dsn: str) -> str:
    """What every driver reads."""
    given = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    user, password = quote(given.pop("user", "")), given.pop("password", None)
    secret = "" if password is None else f":{quote(password, safe='')}"
    return f"postgresql://{user}{secret}@/{given.pop('dbname', '')}?{urlencode(given)}"


@pytest.mark.parametrize("page", pages_with("toml", "json"), ids=name_of)
def test_data_can_be_read(page: Path) -> None:
    for block in blocks_of(page, "toml"):
        tomllib.loads(block.text)
    for block in blocks_of(page, "json"):
        json.loads(block.text)


def all_blocks() -> list[Block]:
    return [block for page in all_pages() for block in blocks_of(page)]


def test_a_block_names_a_language_that_is_checked() -> None:
    strange = [f"{name_of(b.page)}:{b.line}" for b in all_blocks() if b.language not in LANGUAGES]
    assert strange == []


def test_blocks_that_do_not_run_are_rare() -> None:
    fragments = [f"{name_of(b.page)}:{b.line}" for b in all_blocks() if b.is_fragment]
    assert len(fragments) <= FRAGMENTS, fragments


def test_a_block_that_shows_an_example_is_that_example() -> None:
    shown = 0
    for block in all_blocks():
        first, _, rest = block.text.partition("\n")
        if first.startswith("# examples/"):
            shown += 1
            assert rest == (ROOT / first.removeprefix("# ")).read_text(), first
    assert shown
