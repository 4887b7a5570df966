"""Flows that workers of ours and of pgflow's kind (foreign.py) serve side by side: retries, start
delays, maps, conditions, skips. Every body runs alone in the room of its task (journal.py), and
what it answers depends on its input alone, whoever runs it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from stepwell import Context, Flow, Stepwell

from .foreign import StepTask
from .journal import room

FLAKY = {"first", "second", "each", "after"}
RULES: dict[str, Callable[[Any], Any]] = {
    "first": lambda number: number + 1,
    "second": lambda outputs: 2 * outputs["first"],
    "third": lambda outputs: outputs["second"] - 1,
    "items": lambda number: list(range(number % 5)),
    "each": lambda element: 10 * element,
    "total": lambda outputs: sum(outputs["each"]),
    "soon": lambda number: number,
    "pick": lambda number: {"side": "left" if number % 2 else "right"},
    "left": lambda outputs: outputs["pick"]["side"],
    "right": lambda outputs: outputs["pick"]["side"],
    "after": lambda outputs: sorted(outputs),
    "rest": lambda outputs: sorted(outputs),
}


def work(run_id: UUID, step: str, index: int, input: Any) -> Any:
    with room(f"{run_id}/{step}/{index}"):
        time.sleep(random.uniform(0, 0.02))
        if step not in RULES or (step in FLAKY and random.random() < 0.2):
            raise OSError(f"{step} had bad luck")
        return RULES[step](input)


def handle(task: StepTask, _read_ct: int) -> Any:
    """As a foreign worker calls it: a root step gets the flow's input."""
    root = task.flow_input is not None
    given = task.flow_input if root else task.input
    return work(task.run_id, task.step_slug, task.task_index, given)


def ours(ctx: Context, input: Any) -> Any:
    return work(ctx.run_id, ctx.step, ctx.task_index, input)


retries = Flow[int, dict[str, int]]("retries", max_attempts=60, base_delay=0, max_crashes=60)


@retries.step
def first(flow_input: int, ctx: Context) -> int:
    return ours(ctx, flow_input)


@retries.step
def second(first: int, ctx: Context) -> int:
    return ours(ctx, {"first": first})


@retries.step
def third(second: int, ctx: Context) -> int:
    return ours(ctx, {"second": second})


maps = Flow[int, dict[str, int]]("maps", max_attempts=60, base_delay=0, max_crashes=60)


@maps.step
def items(flow_input: int, ctx: Context) -> list[int]:
    return ours(ctx, flow_input)


@maps.map(over=items)
def each(element: int, ctx: Context) -> int:
    return ours(ctx, element)


@maps.step
def total(each: list[int], ctx: Context) -> int:
    return ours(ctx, {"each": each})


delays = Flow[int, dict[str, int]]("delays", max_crashes=60)


@delays.step(start_delay=1)
def soon(flow_input: int, ctx: Context) -> int:
    return ours(ctx, flow_input)


choices = Flow[int, dict[str, Any]]("choices", max_attempts=60, base_delay=0, max_crashes=60)


@choices.step
def pick(flow_input: int, ctx: Context) -> dict[str, str]:
    return ours(ctx, flow_input)


@choices.step(when={"pick": {"side": "left"}})
def left(pick: dict[str, str], ctx: Context) -> str:
    return ours(ctx, {"pick": pick})


@choices.step(unless={"pick": {"side": "left"}})
def right(pick: dict[str, str], ctx: Context) -> str:
    return ours(ctx, {"pick": pick})


@choices.step
def after(left: str | None, right: str | None, ctx: Context) -> list[str]:
    return ours(ctx, present(left=left, right=right))


skips = Flow[int, dict[str, Any]]("skips", max_attempts=2, base_delay=0, max_crashes=60)


@skips.step(if_exhausted="skip")
def hopeless(flow_input: int, ctx: Context) -> None:
    ours(ctx, flow_input)


@skips.step
def rest(hopeless: str | None, ctx: Context) -> list[str]:
    return ours(ctx, present(hopeless=hopeless))


def present(**outputs: Any) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if value is not None}


def expected(flow: Flow[Any, Any], number: int) -> Any:
    outputs: dict[str, Any] = {
        "retries": {"third": 2 * (number + 1) - 1},
        "maps": {"total": sum(10 * n for n in range(number % 5))},
        "delays": {"soon": number},
        "choices": {"after": ["left" if number % 2 else "right"]},
        "skips": {"rest": []},
    }
    return outputs[flow.slug]


FLOWS = (retries, maps, delays, choices, skips)
app = Stepwell(flows=FLOWS, name="mixed")
