"""`stepwell compile` writes migrations that make a database know what a worker would deploy."""

import json
import re
from pathlib import Path

import psycopg
import pytest

from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from stepwell.cli.main import run
from stepwell.compile.deploy import shapes_of
from stepwell.db.define import ensure_flow
from tests.engine.cli_programs import write_program

Out = pytest.CaptureFixture[str]
pytestmark = pytest.mark.timeout(90)
PLAIN = """
from stepwell import Flow

greet_user = Flow("greet_user", max_attempts=3, base_delay=5, timeout=60)

@greet_user.step
def full_name(flow_input: dict[str, str]) -> list[str]: ...

@greet_user.map(over=full_name, max_attempts=5, start_delay=3)
def spell(name: str) -> str: ...

@greet_user.step(when={"full_name": ["it's \\\\ $flow$"]}, if_unmet="skip-cascade")
def greeting(full_name: list[str]) -> str: ...
"""
MORE = (
    PLAIN
    + """
@greet_user.step(if_exhausted="skip")
def wave(greeting: str) -> str: ...
"""
)
RICH = """
from stepwell import Done, Flow, Machine, Stepwell, job, step

waits = Flow("waits", queue="slow", retention=7, jitter=0.2, max_running=3, fairness_by="customer")

@waits.step(priority=2, backoff="linear")
def ask() -> int: ...

approved = waits.signal("approved", after=[ask], timeout=60)

class Parcel(Machine, name="parcel"):
    weight: int = 1

    @step(initial=True)
    async def pack(self, ctx):
        return Done()

class Parcel2(Machine, name="parcel", version=2):
    weight: int = 1

    @step(initial=True)
    async def pack(self, ctx):
        return Done()

@job(max_attempts=7)
def send(user_id: int) -> None: ...

app = Stepwell(flows=[waits], machines=[Parcel, Parcel2], jobs=[send])
"""
STORED = """
    select jsonb_build_object('flow', to_jsonb(f) - 'created_at' - 'version_id', 'steps', (
      select jsonb_agg(to_jsonb(s) - 'created_at' - 'version_id' order by v.version, s.step_index)
      from pgflow.versions v join pgflow.steps s using (version_id)
      where v.flow_slug = f.flow_slug), 'versions', (
      select jsonb_agg(jsonb_build_array(v.version, v.queue, v.version_id = f.version_id)
        order by v.version) from pgflow.versions v where v.flow_slug = f.flow_slug))
    from pgflow.flows f order by f.flow_slug
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def apply(dsn: str, script: str) -> None:
    """As a migration tool does: the whole file at once."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(script.encode())


def stored(dsn: str) -> list[object]:
    with psycopg.connect(dsn) as conn:
        return [row[0] for row in conn.execute(STORED).fetchall()]


def deploy(dsn: str, program: str) -> list[str]:
    """What a worker would find."""
    with psycopg.connect(dsn) as conn:
        shapes = shapes_of(load_app(program))
        return [ensure_flow(shape.to_json()).on_sync(conn)[0].status for shape in shapes]


def printed(capsys: Out, *words: str) -> str:
    assert run(["compile", *words, "--print"]) == 0
    return capsys.readouterr().out


def test_a_flow_is_written_in_the_words_of_pgflow(tmp_path: Path, capsys: Out) -> None:
    script = printed(capsys, write_program(tmp_path, PLAIN))
    assert "create_flow('greet_user', max_attempts => 3, base_delay => 5, timeout => 60)" in script
    assert "add_step('greet_user', 'full_name')" in script
    spell = "'spell', deps_slugs => array['full_name'], max_attempts => 5, start_delay => 3, "
    assert f"add_step('greet_user', {spell}step_type => 'map')" in script
    assert "when_unmet => 'skip-cascade'" in script
    assert "when_exhausted" not in script
    assert script.index("'full_name')") < script.index("'spell'") < script.index("'greeting'")


@pytest.mark.parametrize("text", [PLAIN, MORE, RICH])
def test_the_migration_and_a_worker_make_the_same(
    dsn: str, tmp_path: Path, capsys: Out, text: str
) -> None:
    program = write_program(tmp_path, text)
    script = printed(capsys, program)
    apply(dsn, script)
    found = stored(dsn)
    assert set(deploy(dsn, program)) == {"verified"}
    assert stored(dsn) == found
    apply(dsn, script)  # again
    assert stored(dsn) == found
    with psycopg.connect(dsn) as conn:
        conn.execute("truncate pgflow.flows, pgflow.versions, pgflow.steps, pgflow.deps cascade")
    assert set(deploy(dsn, program)) == {"created"}
    assert stored(dsn) == found


def test_a_changed_flow_becomes_a_version_beside_the_one_that_runs_keep(
    dsn: str, tmp_path: Path, capsys: Out
) -> None:
    first = printed(capsys, write_program(tmp_path, PLAIN))
    second = printed(capsys, write_program(tmp_path, MORE))
    apply(dsn, first)
    with psycopg.connect(dsn) as conn:
        conn.execute("select pgflow.start_flow('greet_user', '{}')")
    apply(dsn, second)
    with psycopg.connect(dsn) as conn:
        sizes = conn.execute(
            "select v.version, count(*), count(r) from pgflow.versions v join pgflow.steps s"
            " using (version_id) left join pgflow.runs r using (version_id) group by 1 order by 1"
        ).fetchall()
    assert sizes == [(1, 3, 3), (2, 4, 0)]
    apply(dsn, first)  # rolled back
    with psycopg.connect(dsn) as conn:
        current = conn.execute(
            "select version from pgflow.flows join pgflow.versions using (version_id)"
        ).fetchall()
    assert current == [(1,)]


def test_files_are_named_in_the_order_they_are_to_run_in(tmp_path: Path, capsys: Out) -> None:
    first, second = write_program(tmp_path, PLAIN), write_program(tmp_path, MORE)
    assert run(["compile", first]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert re.fullmatch(r"migrations/\d{14}_create_greet_user_flow\.sql", str(path))
    assert run(["compile", first, "greet_user"]) == 0
    said = capsys.readouterr()
    assert (said.out, "says so already" in said.err) == ("", True)
    assert run(["compile", second, "--json"]) == 0
    [written] = json.loads(capsys.readouterr().out)
    assert written["written"] and "_change_greet_user_flow.sql" in written["file"]
    assert [file.name for file in sorted(Path("migrations").iterdir())] == [
        path.name,
        Path(written["file"]).name,
    ]


def test_a_folder_that_cannot_be_is_told_in_a_sentence(tmp_path: Path, capsys: Out) -> None:
    program = write_program(tmp_path, PLAIN)
    (tmp_path / "file").write_text("")
    assert run(["compile", program, "--out", str(tmp_path / "file")]) == Exit.USAGE
    assert "name another --out" in capsys.readouterr().err


def test_a_supabase_project_gets_them_where_it_looks_for_them(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    assert run(["compile", write_program(tmp_path, PLAIN)]) == 0
    assert capsys.readouterr().out.startswith("supabase/migrations/")
    assert run(["compile", write_program(tmp_path, RICH), "--out", "elsewhere"]) == 0
    names = [file.partition("_create_")[2] for file in capsys.readouterr().out.split()]
    assert names == [
        "waits_flow.sql",
        "parcel_flow.sql",
        "parcel_v2_flow.sql",
        "send_flow.sql",
    ]


def test_a_flow_that_is_not_there_is_told(tmp_path: Path, capsys: Out) -> None:
    program = write_program(tmp_path, PLAIN)
    assert run(["compile", program, "great_user"]) == 2
    assert "it has greet_user" in capsys.readouterr().err
