"""A machine that counts, and what every test of machines on a worker asks for."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pytest

from stepwell import (
    Done,
    Machine,
    MachineContext,
    Next,
    RunFailed,
    Stepwell,
    step,
)

from .workshop import Workshop


def app_of(*machines: type[Machine], **parts: Any) -> Stepwell:
    return Stepwell(machines=machines, **parts)


async def failure_of(workshop: Workshop, machine: Machine, **settings: Any) -> RunFailed:
    async with workshop.worker(app=app_of(type(machine)), **settings):
        run = await workshop.client.start(machine)
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
    return failed.value


class Counter(Machine):
    upto: int
    seen: list[int] = field(default_factory=list[int])

    @step(initial=True)
    async def count(self, ctx: MachineContext) -> Next | Done:
        self.seen.append(len(self.seen))
        if len(self.seen) < self.upto:
            return Next(self.count)
        return Done(self.seen)
