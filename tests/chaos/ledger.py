"""Transactional steps, for workers that are killed. Those whose number says so kill their worker
between what they write and its commit, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal

from stepwell import Done, Machine, MachineContext, Next, Stepwell, step

from .journal import is_first, write

INSERT = "insert into ledger values (%s, %s)"
FATAL = {7: "debit", 15: "credit"}  # numbers, and the step that kills


class Booking(Machine, max_crashes=50, base_delay=0):
    number: int

    @step(initial=True, transactional=True)
    async def debit(self, ctx: MachineContext) -> Next:
        await ctx.connection.execute(INSERT, (self.number, "debit"))
        self._wrote(ctx)
        await asyncio.sleep(random.uniform(0, 0.02))
        return Next(self.credit)

    @step(transactional=True)
    def credit(self, ctx: MachineContext) -> Done:
        ctx.sync_connection.execute(INSERT, (self.number, "credit"))
        self._wrote(ctx)
        return Done(self.number)

    def _wrote(self, ctx: MachineContext) -> None:
        write("wrote", self.number, ctx.step)
        if FATAL.get(self.number) == ctx.step and is_first(f"death of {self.number}"):
            os.kill(os.getpid(), signal.SIGKILL)


app = Stepwell(machines=[Booking], name="ledger")
