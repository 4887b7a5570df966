"""`stepwell deploy` tells what it changes; `stepwell check-deploy` whose runs are left over."""

import json
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from tests.engine.cli_programs import write_program

Out = pytest.CaptureFixture[str]
pytestmark = pytest.mark.timeout(90)
FLOW = """
from stepwell import Flow, Stepwell

orders = Flow("orders", max_attempts={attempts})

@orders.step(timeout={timeout})
def reserve() -> int: return 1
{more}
app = Stepwell(flows=[orders])
"""
CHARGE = """
@orders.step
def charge(reserve: int) -> int: return 1
"""
CHARGE_ALONE = """
@orders.step
def charge() -> int: return 1
"""
OPTIONS = """
    select f.opt_max_attempts, s.opt_timeout from pgflow.flows f
    join pgflow.steps s using (version_id) where s.step_slug = 'reserve'
"""
MACHINE = """
from stepwell import Done, Machine, Stepwell, job, step

class Parcel(Machine, name="parcel", version={version}):
    {field}: int = 1

    @step(initial=True)
    async def {step}(self, ctx):
        return Done()

@job
def mail(user: {type}) -> None: ...

app = Stepwell(machines=[Parcel], jobs=[mail])
"""

HANDLERS = """
from stepwell import Stepwell, handler

async def work(input): return 1

app = Stepwell(handlers=[handler("acct_*_sync", {code})])
"""
EVERYTHING = """
from datetime import timedelta
from stepwell import ConcurrencyLimit, Done, Flow, Machine, RateLimit, Stepwell, job, key_by, step

slow, some = ConcurrencyLimit("slow", 3), RateLimit("some", 10)
every = Flow(
    "every", max_attempts=7, base_delay=2, backoff="linear", max_delay=90, jitter=0.15,
    timeout=33, max_crashes=5, queue="elsewhere", priority=-2, concurrency=slow.by("a.b"),
    rate_limit=some.of("all", weight=1.5), max_running=4, fairness_by="tenant.id", retention=3.5,
)

@every.step(start_delay=3, timeout=timedelta(minutes=2), jitter=0.3, priority=4, max_attempts=2,
    base_delay=0, backoff="fixed", max_delay=5, concurrency=key_by("c"), rate_limit=some)
def first() -> int: return 1

answered = every.signal("answered", after=first, timeout=timedelta(days=1.5))
slept = every.sleep("slept", timedelta(seconds=5), after=answered)

class Thing(Machine, retention=0, max_running=2, backoff=lambda n: n, fairness_by="x"):
    x: int = 1

    @step(initial=True, timeout=5, rate_limit=some.by("x", weight=2))
    async def go(self, ctx):
        return Done()

@job(retention=timedelta(days=2), no_retry=(ValueError,), concurrency="one")
def task(n: int) -> None: ...

app = Stepwell(flows=[every], machines=[Thing], jobs=[task], limits=[slow, some])
"""


@pytest.fixture(autouse=True)
def database(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", dsn)
    return dsn


def flow(folder: Path, *, attempts: int = 3, timeout: int = 60, more: str = "") -> str:
    return write_program(folder, FLOW.format(attempts=attempts, timeout=timeout, more=more))


def machine(
    folder: Path, *, version: int = 1, field: str = "weight", step: str = "pack", type: str = "int"
) -> str:
    text = MACHINE.format(version=version, field=field, step=step, type=type)
    return write_program(folder, text)


def rows(dsn: str, sql: LiteralString) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(sql)
        return cursor.fetchall() if cursor.description else []


def told(capsys: Out, *words: str, code: int = 0) -> str:
    assert run(list(words)) == code
    return capsys.readouterr().out


def data(capsys: Out, *words: str, code: int = 0) -> Any:
    return json.loads(told(capsys, *words, "--json", code=code))


# --- deploy ---


def test_a_first_deploy_and_the_same_again(tmp_path: Path, capsys: Out) -> None:
    program = flow(tmp_path)
    assert told(capsys, "deploy", program) == "flow orders: new, version 1\n"
    assert told(capsys, "deploy", program) == "flow orders: unchanged, version 1\n"


def test_a_dry_run_tells_the_same_and_changes_nothing(
    database: str, tmp_path: Path, capsys: Out
) -> None:
    first, second = flow(tmp_path), flow(tmp_path, more=CHARGE, attempts=5)
    dry = told(capsys, "deploy", first, "--dry-run")
    assert rows(database, "select * from pgflow.flows") == []
    assert told(capsys, "deploy", first) == dry
    dry = told(capsys, "deploy", second, "--dry-run")
    assert rows(database, "select version from pgflow.versions") == [(1,)]
    assert rows(database, OPTIONS) == [(3, 60)]
    assert told(capsys, "deploy", second) == dry
    assert dry == (
        "flow orders: new version, version 2 (was 1)\n"
        "  step 'charge' is new, depends on 'reserve'\n"
        "  max_attempts 3 -> 5\n"
    )
    assert told(capsys, "deploy", first).startswith("flow orders: current again, version 1 (was 2)")


def test_options_of_the_code_that_changed_are_applied(
    database: str, tmp_path: Path, capsys: Out
) -> None:
    told(capsys, "deploy", flow(tmp_path))
    said = told(capsys, "deploy", flow(tmp_path, attempts=7, timeout=90))
    assert said == (
        "flow orders: unchanged, version 1\n"
        "  max_attempts 3 -> 7\n"
        "  step 'reserve': timeout 60 -> 90\n"
    )
    assert rows(database, OPTIONS) == [(7, 90)]


def test_what_was_tuned_by_hand_stays_until_it_is_to_go(
    database: str, tmp_path: Path, capsys: Out
) -> None:
    program = flow(tmp_path)
    told(capsys, "deploy", program)
    rows(database, "update pgflow.flows set opt_max_attempts = 9")
    rows(database, "update pgflow.steps set opt_timeout = null")
    said = told(capsys, "deploy", program)
    assert "  max_attempts stays 9: tuned by hand, the code says 3 (see --apply-options)\n" in said
    assert "step 'reserve': timeout stays default: tuned by hand, the code says 60" in said
    assert rows(database, OPTIONS) == [(9, None)]
    [change] = data(capsys, "deploy", program, "--apply-options", "--dry-run")
    assert [(d["option"], d["stored"], d["wanted"], d["applied"]) for d in change["drift"]] == [
        ("max_attempts", 9, 3, True),
        ("timeout", None, 60, True),
    ]
    assert rows(database, OPTIONS) == [(9, None)]
    assert "max_attempts 9 -> 3\n" in told(capsys, "deploy", program, "--apply-options")
    assert rows(database, OPTIONS) == [(3, 60)]
    assert told(capsys, "deploy", program) == "flow orders: unchanged, version 1\n"


def test_no_option_differs_right_after_a_deploy(tmp_path: Path, capsys: Out) -> None:
    """Whatever a definition can say, the database tells it back in the same words."""
    program = write_program(tmp_path, EVERYTHING)
    told(capsys, "deploy", program)
    for change in data(capsys, "deploy", program):
        assert (change["status"], change["drift"]) == ("unchanged", []), change


def test_another_queue_is_another_version(tmp_path: Path, capsys: Out) -> None:
    told(capsys, "deploy", flow(tmp_path))
    text = FLOW.format(attempts='3, queue="slow"', timeout=60, more="")
    said = told(capsys, "deploy", write_program(tmp_path, text))
    assert said == ('flow orders: new version, version 2 (was 1)\n  queue "orders" -> "slow"\n')


def test_a_deploy_says_whose_runs_are_left_over(database: str, tmp_path: Path, capsys: Out) -> None:
    told(capsys, "deploy", flow(tmp_path, more=CHARGE))
    rows(database, "select pgflow.start_flow('orders', '{}')")
    assert run(["deploy", flow(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "1 live run of orders, version 1, cannot end on this code: step 'charge' is" in said


def test_a_machine_keeps_its_version_and_grows(tmp_path: Path, capsys: Out) -> None:
    said = told(capsys, "deploy", machine(tmp_path))
    assert said == "machine parcel: new, version 1\njob mail: new, version 1\n"
    said = told(capsys, "deploy", machine(tmp_path, step="wrap"))
    assert said.startswith(
        "machine parcel: changed, version 1\n  step 'pack' is gone\n  step 'wrap' is new\n"
    )
    said = told(capsys, "deploy", machine(tmp_path, version=2))
    assert said.startswith("machine parcel: new version, version 2 (was 1)\n")
    assert "a start by name" not in said
    said = told(capsys, "deploy", machine(tmp_path, step="wrap"))  # rolled back
    assert said.startswith(
        "machine parcel: unchanged, version 1\n"
        "  a start by name gets version 2, which this code does not have\n"
    )


def test_another_kind_under_a_name_is_refused(tmp_path: Path, capsys: Out) -> None:
    told(capsys, "deploy", flow(tmp_path))
    text = "from stepwell import job\n@job\ndef orders() -> None: ...\n"
    assert run(["deploy", write_program(tmp_path, text)]) == Exit.FAILED
    assert "is a flow in this database, not a job" in capsys.readouterr().err


def test_a_database_without_a_schema_is_told(empty_dsn: str, tmp_path: Path, capsys: Out) -> None:
    for command in ("deploy", "check-deploy"):
        assert run([command, flow(tmp_path), "--dsn", empty_dsn]) == Exit.SCHEMA
        assert "stepwell migrate" in capsys.readouterr().err


# --- check-deploy ---


def test_code_that_has_all_steps_passes(database: str, tmp_path: Path, capsys: Out) -> None:
    old = flow(tmp_path)
    assert told(capsys, "check-deploy", old) == "no live runs\n"
    told(capsys, "deploy", old)
    rows(database, "select pgflow.start_flow('orders', '{}')")
    said = told(capsys, "check-deploy", flow(tmp_path, more=CHARGE, attempts=9))
    assert said == "all 1 live runs can end on this code\n"


@pytest.mark.parametrize(
    ("more", "reason"),
    [("", "step 'charge' is gone"), (CHARGE_ALONE, "step 'charge' waited for reserve and waits")],
)
def test_code_that_lacks_a_step_is_refused_until_its_runs_are_done(
    database: str, tmp_path: Path, capsys: Out, more: str, reason: str
) -> None:
    told(capsys, "deploy", flow(tmp_path, more=CHARGE))
    run_ids = [
        str(rows(database, "select run_id from pgflow.start_flow('orders', '{}')")[0][0])
        for _ in range(3)
    ]
    new = flow(tmp_path, more=more)
    found = data(capsys, "check-deploy", new, code=1)
    assert (found["live"], found["unfinished"]) == (
        3,
        [{"flow": "orders", "version": 1, "runs": 3}],
    )
    assert [each["run_id"] for each in found["runs"]] == sorted(run_ids)
    assert {each["reason"].startswith(reason) for each in found["runs"]} == {True}
    assert found["runs"][0]["steps"] == ["reserve"]
    said = told(capsys, "check-deploy", new, "--limit", "1", code=1)
    assert (run_ids[0] in said, run_ids[1] in said) == (True, False)
    assert "orders, version 1: 3\n" in said
    rows(database, "select pgflow.cancel_run(run_id) from pgflow.runs")
    assert told(capsys, "check-deploy", new) == "no live runs\n"


def test_runs_of_other_programs_are_ignored_when_told(
    database: str, tmp_path: Path, capsys: Out
) -> None:
    rows(database, "select pgflow.create_flow('billing_eu'), pgflow.add_step('billing_eu', 'a')")
    rows(database, "select pgflow.start_flow('billing_eu', '{}')")
    found = data(capsys, "check-deploy", flow(tmp_path), code=1)
    assert found["runs"][0]["reason"] == "this code has no flow 'billing_eu'"
    told(capsys, "check-deploy", flow(tmp_path), "--ignore", "other", "--ignore", "billing_*")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("work", None), ("{'a': work}", None), ("{'b': work}", "there is no function for it")],
)
def test_flows_made_from_data_are_finished_by_their_handlers(
    database: str, tmp_path: Path, capsys: Out, code: str, reason: str | None
) -> None:
    rows(database, "select pgflow.create_flow('acct_1_sync'), pgflow.add_step('acct_1_sync', 'a')")
    rows(database, "select pgflow.start_flow('acct_1_sync', '{}')")
    program = write_program(tmp_path, HANDLERS.format(code=code))
    if reason is None:
        assert told(capsys, "check-deploy", program) == "all 1 live runs can end on this code\n"
    else:
        [stuck] = data(capsys, "check-deploy", program, code=1)["runs"]
        assert reason in stuck["reason"]


def test_machines_and_jobs_are_looked_at_one_by_one(
    database: str, tmp_path: Path, capsys: Out
) -> None:
    told(capsys, "deploy", machine(tmp_path))
    rows(
        database,
        "select pgflow.start_runs('parcel', array['{\"weight\": 2}', '{\"weight\": 3}']::jsonb[])",
    )
    rows(database, "select pgflow.start_runs('mail', array['{\"user\": 7}']::jsonb[])")
    told(capsys, "check-deploy", machine(tmp_path))

    def reasons(**changed: Any) -> set[str]:
        found = data(capsys, "check-deploy", machine(tmp_path, **changed), code=1)
        assert len(found["runs"]) == found["unfinished"][0]["runs"]
        return {each["reason"] for each in found["runs"]}

    assert reasons(version=2) == {"this code has only version 2 of the machine"}
    assert reasons(step="wrap") == {
        "it stands at step 'pack', which the class does not have; keep the step"
    }
    [said] = reasons(type="str")
    assert said.startswith("its arguments do not fit the code: ")


def test_a_state_that_the_code_cannot_read_is_told(
    database: str, tmp_path: Path, capsys: Out
) -> None:
    told(capsys, "deploy", machine(tmp_path))
    rows(
        database,
        "select pgflow.start_runs('parcel', array['{\"weight\": 2}', '{}']::jsonb[])",
    )
    text = MACHINE.format(version=1, field="weight", step="pack", type="int")
    typed = write_program(tmp_path, text.replace("weight: int = 1", 'weight: str = "1"'))
    found = data(capsys, "check-deploy", typed, code=1)
    [stuck] = found["runs"]
    assert "its state does not fit the code: the state of machine" in stuck["reason"]
    assert found["unfinished"] == [{"flow": "parcel", "version": 1, "runs": 1}]
