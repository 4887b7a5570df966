"""Workers that serve flows made from data: by a pattern, as they come, without a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Client, Context, DefinitionError, Flow, NotFound, Stepwell, handler
from stepwell.client.upserting import StepData
from stepwell.compile import deploy
from stepwell.compile.adopt import Adopted
from stepwell.db.pool import Pool
from stepwell.define.handler import PatternHandler
from stepwell.observe.events import FlowNotServed, TaskStarted, WorkerStarted
from stepwell.testing import Kit
from stepwell.worker import worker

from .workshop import Workshop

PATIENCE = 45.0
CHAIN: list[StepData] = [
    {"slug": "reshape"},
    {"slug": "create_contact", "deps": ["reshape"]},
    {"slug": "tell", "deps": ["create_contact", "reshape"]},
]


async def call_tool(input: Any, ctx: Context) -> dict[str, Any]:
    return {"step": f"{ctx.flow}.{ctx.step}", "got": input}


async def test_one_function_serves_all_steps_of_all_flows_that_match(workshop: Workshop) -> None:
    client = workshop.client
    await client.upsert_flow("acct_1_sync", steps=CHAIN)
    async with workshop.worker(app=Stepwell(handlers=[handler("acct_*_sync", call_tool)])):
        await client.upsert_flow("acct_2_sync", steps=[{"slug": "only"}])  # while it runs
        first = await client.start_flow("acct_1_sync", {"n": 1})
        second = await client.start_flow("acct_2_sync", [7])
        output = await first.result(PATIENCE)
        reshape = {"step": "acct_1_sync.reshape", "got": {"n": 1}}
        create = {"step": "acct_1_sync.create_contact", "got": {"reshape": reshape}}
        got = {"reshape": reshape, "create_contact": create}
        assert output == {"tell": {"step": "acct_1_sync.tell", "got": got}}
        assert await second.result(PATIENCE) == {"only": {"step": "acct_2_sync.only", "got": [7]}}


async def test_a_function_for_each_step_gets_what_its_parameters_name(workshop: Workshop) -> None:
    def reshape(input: dict[str, int]) -> list[int]:
        return list(range(input["n"]))

    async def create(item: int, flow_input: dict[str, Any]) -> str:
        return f"{flow_input['n']}:{item}"

    def tell(create: list[str], reshape: list[int], ctx: Context) -> str:
        return f"{ctx.step} {' '.join(create)} of {len(reshape)}"

    code = {"reshape": reshape, "create": create, "tell": tell}
    steps: list[StepData] = [
        {"slug": "reshape"},
        {"slug": "create", "deps": ["reshape"], "step_type": "map"},
        {"slug": "tell", "deps": ["create", "reshape"]},
    ]
    async with workshop.worker(app=Stepwell(handlers=[handler("acct_*", code)])):
        await workshop.client.upsert_flow("acct_1", steps=steps)
        run = await workshop.client.start_flow_sync("acct_1", {"n": 3}, timeout=PATIENCE)
        assert run.output == {"tell": "tell 3:0 3:1 3:2 of 3"}


async def test_a_new_version_is_served_beside_the_one_before(workshop: Workshop) -> None:
    client = workshop.client
    gate = asyncio.Event()

    async def step(input: Any, ctx: Context) -> str:
        if ctx.step == "first":
            await gate.wait()
        return ctx.step

    app = Stepwell(handlers=[handler("acct_*", step)])
    async with workshop.worker(app=app) as serving:
        await client.upsert_flow("acct_1", steps=[{"slug": "first"}])
        old = await client.start_flow("acct_1", {})
        await serving.events.until(lambda: bool(serving.events.of(TaskStarted)), PATIENCE)
        await client.upsert_flow("acct_1", steps=[{"slug": "other"}])
        new = await client.start_flow_sync("acct_1", {}, timeout=PATIENCE)
        assert new.output == {"other": "other"}
        gate.set()
        assert await old.result(PATIENCE) == {"first": "first"}


async def test_a_flow_that_is_replaced_under_way_is_served_anew(workshop: Workshop) -> None:
    client = workshop.client
    async with workshop.worker(app=Stepwell(handlers=[handler("acct_*", call_tool)])):
        for number in range(3):
            await client.upsert_flow("acct_1", steps=[{"slug": f"step_{number}"}], replace=True)
            run = await client.start_flow_sync("acct_1", {}, timeout=PATIENCE)
            assert list(run.output) == [f"step_{number}"]
        assert await client.delete_flow("acct_1")


async def test_flows_made_in_sql_are_served_too(workshop: Workshop) -> None:
    def fetch(flow_input: dict[str, int]) -> int:
        return flow_input["n"]

    def tell(fetch: int, flow_input: dict[str, int]) -> int:
        return fetch + flow_input["n"]

    workshop.rows("select pgflow.create_flow('acct_sql')")
    workshop.rows("select pgflow.add_step('acct_sql', 'fetch')")
    workshop.rows("select pgflow.add_step('acct_sql', 'tell', array['fetch'])")
    code = {"fetch": fetch, "tell": tell}
    async with workshop.worker(app=Stepwell(handlers=[handler("acct_*", code)])):
        run = await workshop.client.start_flow_sync("acct_sql", {"n": 4}, timeout=PATIENCE)
        assert run.output == {"tell": 8}


async def test_what_no_handler_has_code_for_is_told_and_left_to_others(workshop: Workshop) -> None:
    client = workshop.client
    await client.upsert_flow("acct_1", steps=[{"slug": "known"}])
    await client.upsert_flow("acct_2", steps=[{"slug": "known"}, {"slug": "unknown"}])
    app = Stepwell(handlers=[handler("acct_*", {"known": call_tool})])
    async with workshop.worker(app=app) as serving:
        await serving.events.first(FlowNotServed)
        run = await client.start_flow_sync("acct_1", {}, timeout=PATIENCE)
        assert run.status == "completed"
        other = await client.start_flow("acct_2", {})
        [told] = serving.events.of(FlowNotServed)
        assert (told.flow, told.version) == ("acct_2", 1)
        assert "a step 'unknown', and there is no function for it" in told.reason
        app.handler("acct_2", call_tool)  # later, and from elsewhere in the program
        await client.upsert_flow("acct_3", steps=[{"slug": "known"}])  # makes workers look
        assert list(await other.result(PATIENCE)) == ["known", "unknown"]


async def test_code_for_one_flow_goes_before_code_for_many(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TOGETHER", PATIENCE)  # it tells of both when it starts
    special = Flow("acct_special")

    @special.step
    def only(flow_input: Any) -> str:
        return "its own"

    app = Stepwell(flows=[special], handlers=[handler("acct_*", call_tool)])
    async with workshop.worker(app=app) as serving:
        run = await workshop.client.start_flow_sync(special, {}, timeout=PATIENCE)
        assert run.output == {only.slug: "its own"}
        made = await workshop.client.upsert_flow("acct_special", steps=[{"slug": "new"}])
        assert made.status == "recompiled"  # which that code cannot run
        run = await workshop.client.start_flow_sync("acct_special", {}, timeout=PATIENCE)
        assert run.output["new"]["step"] == "acct_special.new"
        assert serving.events.of(WorkerStarted)[0].flows == ("acct_special", "acct_*")


async def test_of_two_patterns_the_first_that_can_serves(workshop: Workshop) -> None:
    def first(input: Any) -> str:
        return "first"

    def second(input: Any) -> str:
        return "second"

    handlers = [handler("acct_*", {"a": first}), handler("*", second)]
    async with workshop.worker(app=Stepwell(handlers=handlers)):
        for slug, step, output in (
            ("acct_1", "a", "first"),
            ("acct_2", "b", "second"),
            ("team_1", "a", "second"),
        ):
            await workshop.client.upsert_flow(slug, steps=[{"slug": step}])
            run = await workshop.client.start_flow_sync(slug, {}, timeout=PATIENCE)
            assert run.output == {step: output}


async def test_waits_skips_and_retries_are_as_in_any_flow(workshop: Workshop) -> None:
    client = workshop.client
    tries: list[int] = []

    def work(input: Any, ctx: Context) -> int:
        if ctx.step == "shaky":
            tries.append(ctx.attempt)
            if ctx.attempt == 1:
                raise ValueError("not yet")
        return ctx.attempt

    steps: list[StepData] = [
        {"slug": "shaky", "max_attempts": 2, "base_delay": 0},
        {"slug": "approved", "deps": ["shaky"], "step_type": "signal"},
        {"slug": "cooled", "deps": ["shaky"], "step_type": "sleep", "duration": 1},
        {"slug": "never", "when": {"no": "such"}},
        {"slug": "end", "deps": ["approved", "cooled", "never"]},
    ]
    async with workshop.worker(app=Stepwell(handlers=[handler("acct_*", work)])):
        await client.upsert_flow("acct_1", steps=steps)
        run = await client.start_flow("acct_1", {})
        await client.signal(run, "approved", {"by": "ann"})
        assert await run.result(PATIENCE) == {"end": 1}
        states = (await client.get_run_with_states(run.id)).step_states
        assert {s.step_slug: s.status for s in states} == {
            "shaky": "completed",
            "approved": "completed",
            "cooled": "completed",
            "never": "skipped",
            "end": "completed",
        }
        assert tries == [1, 2]


async def test_a_worker_finds_them_without_listening(workshop: Workshop) -> None:
    app = Stepwell(handlers=[handler("acct_*", call_tool)])
    async with workshop.worker(app=app, wake="poll", lease=3.0, poll=0.2):
        await workshop.client.upsert_flow("acct_1", steps=[{"slug": "only"}])
        run = await workshop.client.start_flow_sync("acct_1", 1, timeout=PATIENCE)
        assert run.status == "completed"


async def test_a_flow_that_grows_a_step_after_it_was_found(workshop: Workshop) -> None:
    app = Stepwell(handlers=[handler("acct_*", call_tool)])
    workshop.rows("select pgflow.create_flow('acct_sql')")
    async with workshop.worker(app=app, wake="poll", lease=3.0, poll=0.2):
        workshop.rows("select pgflow.add_step('acct_sql', 'a')")  # the worker may look in between
        workshop.rows("select pgflow.add_step('acct_sql', 'b', array['a'])")
        run = await workshop.client.start_flow_sync("acct_sql", 1, timeout=PATIENCE)
        assert list(run.output) == ["b"]


async def test_what_was_adopted_follows_the_database(workshop: Workshop) -> None:
    async with Client(workshop.dsn) as client:
        app, adopted = Stepwell(handlers=[handler("acct_*", call_tool)]), Adopted()
        pool = Pool(workshop.dsn)
        workshop.rows("select pgflow.create_flow('acct_1')")
        for step, slugs in ((None, []), ("a", ["a"]), ("b", ["a", "b"])):
            if step:
                workshop.rows("select pgflow.add_step('acct_1', %s)", step)
            queues, [version] = await deploy.lanes(pool, app, adopted=adopted)
            assert queues == ["acct_1"]
            flow = adopted.flow(version)
            assert flow is not None and list(flow.steps) == slugs
            again = await deploy.lanes(pool, app, adopted=adopted)
            assert (again, adopted.flow(version)) == ((queues, [version]), flow)
        assert await client.delete_flow("acct_1")
        assert await deploy.lanes(pool, app, adopted=adopted) == ([], [])
        assert adopted.flow(version) is None
        await pool.close()


async def test_whether_a_handler_can_run_here_is_asked_once_for_many_flows(
    workshop: Workshop,
) -> None:
    asked: list[str] = []

    def check(handler: PatternHandler) -> None:
        asked.append(handler.pattern)
        if handler.pattern == "acct_*":
            raise DefinitionError("not here")

    patterns = [handler("acct_*", call_tool), handler("acct_?", call_tool)]
    app, adopted, pool = Stepwell(handlers=patterns), Adopted(check), Pool(workshop.dsn)
    for name in ("acct_1", "acct_2", "acct_3", "acct_none"):
        workshop.rows("select pgflow.create_flow(%s)", name)
        workshop.rows("select pgflow.add_step(%s, 'a')", name)
    queues, versions = await deploy.lanes(pool, app, adopted=adopted)
    assert sorted(queues) == ["acct_1", "acct_2", "acct_3"]
    assert {adopted.handler(each) for each in versions} == {patterns[1]}
    await deploy.lanes(pool, app, adopted=adopted)  # nothing is new
    assert asked == ["acct_*", "acct_?"]
    await pool.close()


async def test_the_testing_kit_runs_them(workshop: Workshop) -> None:
    app = Stepwell(handlers=[handler("acct_*", call_tool)])
    async with Kit(app, workshop.dsn) as kit:
        await kit.client.upsert_flow("acct_1", steps=[{"slug": "only"}])
        run = await kit.client.start_flow("acct_1", 7)
        assert (await kit.drain()).completed == 1
        assert (await kit.client.get_run(run)).output["only"]["got"] == 7


async def test_a_flow_whose_code_is_on_its_way_is_not_adopted(workshop: Workshop) -> None:
    special = Flow("acct_special")

    @special.step
    def only(flow_input: Any) -> str:
        return "its own"

    app = Stepwell(flows=[special], handlers=[handler("acct_*", call_tool)])
    async with Pool(workshop.dsn) as pool:
        [deployed] = await deploy.deploy(pool, app)
        assert await deploy.served_lanes(pool, app, without={"acct_special"}) == []
        assert await deploy.lanes(pool, app) == (["acct_special"], [deployed.version_id])
    assert only.slug == "only"


async def test_a_flow_that_is_deleted_while_it_runs(workshop: Workshop) -> None:
    client, gate = workshop.client, asyncio.Event()

    async def step(input: Any) -> str:
        await gate.wait()
        return "done"

    async with workshop.worker(app=Stepwell(handlers=[handler("acct_*", step)])) as serving:
        await client.upsert_flow("acct_1", steps=[{"slug": "a"}])
        gone = await client.start_flow("acct_1", {})
        await serving.events.until(lambda: bool(serving.events.of(TaskStarted)), PATIENCE)
        await client.delete_flow("acct_1")
        gate.set()
        with pytest.raises(NotFound):
            await gone.info()
        await client.upsert_flow("acct_1", steps=[{"slug": "b"}])
        run = await client.start_flow_sync("acct_1", {}, timeout=PATIENCE)
        assert run.output == {"b": "done"}


async def test_flows_that_change_while_they_are_started(workshop: Workshop) -> None:
    """Each run ends on the shape that it was started with, whatever comes meanwhile."""
    client = workshop.client
    shapes: list[list[StepData]] = [
        [{"slug": "a"}],
        [{"slug": "a"}, {"slug": "b", "deps": ["a"]}],
        [{"slug": "list"}, {"slug": "each", "deps": ["list"], "step_type": "map"}],
    ]

    async def work(input: Any, ctx: Context) -> Any:
        return [1, 2] if ctx.step == "list" else ctx.step

    async def change_and_start(number: int) -> dict[str, Any]:
        slug = f"acct_{number % 4}"
        await client.upsert_flow(slug, steps=shapes[number % 3])
        run = await client.start_flow_sync(slug, {}, timeout=PATIENCE)
        return run.output

    app = Stepwell(handlers=[handler("acct_*", work)])
    async with workshop.worker(app=app), workshop.worker(app=app):
        outputs = await asyncio.gather(*(change_and_start(n) for n in range(24)))
    possible = [{"a": "a"}, {"b": "b"}, {"each": ["each", "each"]}]
    assert all(output in possible for output in outputs)
    assert workshop.rows("select count(*) from pgflow.versions") == [(12,)]
