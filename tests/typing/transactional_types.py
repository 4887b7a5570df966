# pyright: strict
# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers know of transactional handlers."""

from __future__ import annotations

from typing import Any, assert_type

from psycopg import AsyncConnection, Connection

from stepwell import Context, Done, Flow, Machine, MachineContext, job, step

orders = Flow[int, dict[str, int]]("orders")


@orders.step(transactional=True)
async def write(flow_input: int, ctx: Context) -> int:
    assert_type(ctx.connection, AsyncConnection[Any])
    await ctx.connection.execute("select 1")
    ctx.sync_connection = ctx.sync_connection  # pyright: ignore[reportAttributeAccessIssue]
    return flow_input


@job(transactional=True)
def send(ctx: Context, user: int) -> str:
    assert_type(ctx.sync_connection, Connection[Any])
    return str(user)


assert_type(send.call(7).arguments["user"], Any)
send.call("ada")  # pyright: ignore[reportArgumentType]


class Order(Machine):
    @step(initial=True, transactional=True)
    async def begin(self, ctx: MachineContext) -> Done:
        assert_type(ctx.connection, AsyncConnection[Any])
        return Done()


@orders.step(transactional="yes")  # pyright: ignore[reportArgumentType]
def wrong(write: int, ctx: Context) -> int: ...
