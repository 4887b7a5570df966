"""Deploying: old and new code beside each other, and who serves what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stepwell import DefinitionError, Flow
from stepwell.client.batch import new_run_id
from stepwell.compile.deploy import deploy, lanes, serves
from stepwell.compile.flows import compile_flow
from stepwell.db.inspect import versions_of
from stepwell.db.pool import Pool
from stepwell.db.start import start_runs


def one(element: Any) -> Any: ...


def nothing() -> Any: ...


def flow(*steps: str, **options: Any) -> Flow[Any, Any]:
    """Steps in a row; each name that ends in `s` is a map over the one before."""
    made = Flow[Any, Any]("orders", **options)
    before: list[Any] = []
    for slug in steps:
        if slug.endswith("s") and before:
            before = [made.map(over=before[0], slug=slug)(one)]
        else:
            before = [made.step(*before, slug=slug)(nothing)]
    return made


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with Pool(dsn) as pool:
        yield pool


async def current(pool: Pool) -> int:
    """The version that a start by name gets, and that the start is one of."""
    await pool.run(start_runs("orders", ["1"], [new_run_id()], [None]))
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "select v.version from pgflow.runs join pgflow.versions v using (version_id)"
            " order by run_id desc limit 1"
        )
        [version] = await cursor.fetchone() or [0]
    return version


async def options(pool: Pool) -> tuple[Any, ...]:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "select f.opt_timeout, v.queue from pgflow.flows f"
            " join pgflow.versions v on v.version_id = f.version_id"
        )
        return await cursor.fetchone() or ()


async def test_a_shape_is_deployed_once(pool: Pool) -> None:
    [first] = await deploy(pool, [flow("a", "b")])
    [again] = await deploy(pool, [flow("a", "b", timeout=5)])
    assert (first.version, first.created) == (1, True)
    assert (again.version_id, again.created) == (first.version_id, False)
    assert await options(pool) == (5, None)


async def test_a_client_moves_nothing_that_is_deployed(pool: Pool) -> None:
    [first] = await deploy(pool, [flow("a", timeout=5)], make_current=False)
    assert (await current(pool), await options(pool)) == (1, (5, None))  # somebody has to begin
    [second] = await deploy(pool, [flow("a", "b", timeout=6, queue="q")], make_current=False)
    assert (second.created, await current(pool), await options(pool)) == (True, 1, (5, None))
    [_] = await deploy(pool, [flow("a", "b", timeout=6, queue="q")])
    assert (await current(pool), await options(pool)) == (2, (6, "q"))
    [back] = await deploy(pool, [flow("a", timeout=5)])  # a rollback is a deploy like any other
    assert (back.version_id, await current(pool), await options(pool)) == (
        first.version_id,
        1,
        (5, None),
    )


async def test_one_bad_flow_deploys_none(pool: Pool) -> None:
    with pytest.raises(DefinitionError):
        await deploy(pool, [flow("a"), Flow("empty")])
    assert await pool.run(versions_of(["orders"])) == []


async def test_lanes_are_what_the_code_has_handlers_for(pool: Pool) -> None:
    old, new = flow("a", "b"), flow("a", "b", "c", queue="q")
    [one] = await deploy(pool, [old])
    [two] = await deploy(pool, [new])
    assert await lanes(pool, [old]) == (["orders"], [one.version_id])
    assert await lanes(pool, [new]) == (["orders", "q"], [one.version_id, two.version_id])
    assert await lanes(pool, []) == ([], [])


def test_a_version_is_served_by_slug_type_and_dependencies() -> None:
    def structure(made: Flow[Any, Any]) -> list[dict[str, Any]]:
        return compile_flow(made).structure()["steps"]

    code = flow("a", "bs", "c")
    assert serves(code, structure(flow("a", "bs", "c")))
    assert serves(code, structure(flow("a", "bs")))
    assert not serves(code, structure(flow("a", "bs", "c", "d")))
    assert not serves(code, structure(flow("a", "c")))  # c waits for another step here
    assert not serves(flow("a", "b"), [{**s, "stepType": "map"} for s in structure(flow("a"))])
