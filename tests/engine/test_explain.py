"""Why a run is not moving, for the client and on the command line."""

from __future__ import annotations

import asyncio

from stepwell import Client, Flow

from .cli_programs import Command
from .workshop import Workshop

held = Flow("held", max_running=1)


@held.step
async def hold(flow_input: int) -> int:
    await asyncio.sleep(flow_input)
    return flow_input


async def test_what_keeps_a_run_is_told_with_who_does(workshop: Workshop) -> None:
    client = workshop.client
    first = await client.start(held, 600)
    [reason] = await first.explain()
    assert (reason.reason, reason.state) == ("no_worker", "stuck")
    async with workshop.worker(held, name="shop-1", concurrency=7, lease=12):
        await workshop.until(
            "select 1 from pgflow.workers where concurrency = 7 and cardinality(lane_versions) = 1"
            " and abs(clock_ahead) < 60"
        )
        await workshop.until("select 1 from pgflow.step_tasks where stage = 'running'")
        second = await client.start(held, 0, key="next")
        [reason] = await client.explain("next")
        assert (reason.reason, reason.state, reason.step) == ("limit_full", "waiting", "hold")
        assert reason.message.startswith("step hold waits for max_running of held, which lets 1")
        assert f"run {first.id} (held, step hold) on shop-1 (pid " not in reason.message
        assert f"run {first.id} (held, step hold) on shop-1 for " in reason.message
        with Client.sync(workshop.dsn) as sync:
            assert sync.explain(second.id)[0].remedy == f"stepwell runs explain {first.id}"
            assert sync.run(first.id).explain()[0].reason == "running"
        await first.cancel()
        await second.wait(timeout=30)
    [reason] = await second.explain()
    assert (reason.reason, reason.state) == ("completed", "ended")


def test_the_command_says_what_to_do(dsn: str, command: Command) -> None:
    with Client.sync(dsn) as client:
        run = client.start(held, 1, key="slow")
    code, out, _ = command("runs", "explain", "slow")
    assert code == 1
    assert out.splitlines() == [
        "stuck   step hold: no worker is there",
        "        → start one: stepwell worker module:app",
    ]
    assert command("runs", "cancel", str(run.id), "--reason", "a\x1bb")[0] == 0
    code, out, _ = command("runs", "explain", str(run.id))
    assert (code, "\x1b" in out) == (0, False)
    assert out.startswith("ended   the run was cancelled ")
    code, out, _ = command("runs", "explain", str(run.id), "--json")
    assert (code, '"reason": "cancelled"' in out) == (0, True)
