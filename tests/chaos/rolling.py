"""Code before and after a change, for workers that are deployed side by side. Each body says which
code ran it: `ran RUN CODE STEP PID`."""

from __future__ import annotations

import os
from dataclasses import field
from uuid import UUID

from stepwell import (
    Await,
    Context,
    Done,
    Machine,
    MachineContext,
    Next,
    Spawn,
    Stepwell,
    job,
    step,
)

from .journal import write


def ran(run_id: UUID, code: str, step: str) -> str:
    write("ran", run_id, code, step, os.getpid())
    return f"{code} {step}"


class Parcel(Machine, name="parcel", queue="parcels", version=1):
    code: list[str] = field(default_factory=list[str])

    @step(initial=True)
    async def pack(self, ctx: MachineContext) -> Next:
        self.code.append(ran(ctx.run_id, "old", ctx.step))
        return Next(self.weigh, delay=0.05)

    @step
    async def weigh(self, ctx: MachineContext) -> Await:
        self.code.append(ran(ctx.run_id, "old", ctx.step))
        return Await("sent", then=self.ship)

    @step
    async def ship(self, ctx: MachineContext) -> Done:
        return Done([*self.code, ran(ctx.run_id, "old", ctx.step)])


class Parcel2(Machine, name="parcel", queue="parcels", version=2):
    """Another order of the same steps, other fields, and a step more."""

    path: str = ""
    kilos: float = 0

    @step(initial=True)
    async def weigh(self, ctx: MachineContext) -> Next:
        self.kilos = 1.5
        self.path = ran(ctx.run_id, "new", ctx.step)
        return Next(self.pack)

    @step
    async def pack(self, ctx: MachineContext) -> Await:
        self.path += ", " + ran(ctx.run_id, "new", ctx.step)
        return Await("sent", then=self.insure)

    @step
    async def insure(self, ctx: MachineContext) -> Spawn:
        self.path += ", " + ran(ctx.run_id, "new", ctx.step)
        return Spawn([ParcelNote(of=self.path)], then=self.ship)

    @step
    async def ship(self, ctx: MachineContext) -> Done:
        return Done(self.path + ", " + ran(ctx.run_id, "new", ctx.step))


class ParcelNote(Machine, name="parcel_note", queue="parcels"):
    of: str

    @step(initial=True)
    async def note(self, ctx: MachineContext) -> Done:
        ran(ctx.run_id, "note", ctx.step)
        return Done(self.of)


class Parcel3(Machine, name="parcel", queue="parcels", version=3):
    """Of which there are no runs."""

    @step(initial=True)
    async def pack(self, ctx: MachineContext) -> Done:
        return Done(ran(ctx.run_id, "newest", ctx.step))


@job(queue="parcels")
async def sweep(ctx: Context) -> str:
    return ran(ctx.run_id, "stranger", ctx.step)


@job(name="greet", queue="greetings")
async def greet(ctx: Context, name: str) -> str:
    ran(ctx.run_id, "old", ctx.step)
    return f"hello {name}"


@job(name="greet", queue="letters", max_attempts=5)
async def greet_2(ctx: Context, name: str, mark: str = "") -> str:
    ran(ctx.run_id, "new", ctx.step)
    return f"hello {name}{mark}"


old = Stepwell(machines=[Parcel], jobs=[greet], name="old")
new = Stepwell(machines=[Parcel2, ParcelNote], jobs=[greet_2], name="new")
both = Stepwell(machines=[Parcel, Parcel2, ParcelNote], jobs=[greet_2], name="both")
stranger = Stepwell(machines=[Parcel3], jobs=[sweep], name="stranger")
