"""How long a definition's runs are kept: as it is written, and as it is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import DefinitionError, Done, Flow, Machine, MachineContext, job, step
from stepwell.cli.exits import UsageError
from stepwell.cli.prune import age_of
from stepwell.compile.flows import compile_flow
from stepwell.compile.jobs import compile_job
from stepwell.compile.machines import compile_machine


@pytest.mark.parametrize(
    ("written", "days"),
    [
        (None, None),
        (0, 0),
        (7, 7),
        (0.5, 0.5),
        (timedelta(days=90), 90),
        (timedelta(hours=6), 0.25),
        (timedelta(milliseconds=864), 0.00001),
    ],
)
def test_days_are_a_number_or_a_timedelta(written: Any, days: float | None) -> None:
    flow = Flow("orders", retention=written)
    flow.step(lambda_free)

    class Light(Machine, retention=written):
        @step(initial=True)
        async def on(self, ctx: MachineContext) -> Done:
            return Done()

    @job(retention=written)
    async def mail() -> None: ...

    shapes = (compile_flow(flow), compile_machine(Light), compile_job(mail))
    assert [shape.options.retention for shape in shapes] == [days] * 3
    assert flow.options.retention == days


async def lambda_free(flow_input: int) -> int:
    return flow_input


@pytest.mark.parametrize(
    "written", [-1, True, "30", float("nan"), float("inf"), 36501, timedelta(days=-1)]
)
def test_what_is_no_number_of_days_is_refused(written: Any) -> None:
    with pytest.raises(DefinitionError, match=r"flow 'orders': retention is .*number of days"):
        Flow("orders", retention=written)
    with pytest.raises(DefinitionError, match=r"job 'mail': retention is .*0 keeps runs for ever"):

        @job(retention=written)
        async def mail() -> None: ...  # pyright: ignore[reportUnusedFunction]


def test_it_is_an_option_and_no_part_of_the_structure() -> None:
    shapes: list[Any] = []
    for days in (1, 2):
        flow = Flow("orders", retention=days)
        flow.step(lambda_free)
        shapes.append(compile_flow(flow))
    assert shapes[0].digest == shapes[1].digest
    assert shapes[0].to_json() != shapes[1].to_json()


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30d", timedelta(days=30)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("90M", timedelta(minutes=90)),
        ("0d", timedelta()),
    ],
)
def test_an_age_is_a_number_and_a_unit(text: str, age: timedelta) -> None:
    assert age_of(text) == age


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1e9d", "30 days", "99999999w", ""])
def test_an_age_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write a number and a unit"):
        age_of(text)
