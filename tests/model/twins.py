"""Every run twice: moved by batches, and by pgflow's calls for one task; then all rows compared.

The twin gets what counted of each batch, one after another in the order that a batch promises. All
columns are compared but ids; of a moment only whether there is one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from .batch import Entry
from .engine import WORKER, Claim, Engine
from .model import ModelRun
from .outcome import Failed
from .rows import Absent
from .strategies import Scenario
from .world import World, renamed


def run_as_twins(engine: Engine, scenario: Scenario, random: Random, batch: int) -> None:
    flow = renamed(scenario.flow)
    engine.define(flow)
    twins = Twins(engine, [scenario], flow.slug)
    while twins.claim(random.choice([2, 1000])) or twins.held:
        twins.commit(random.randint((batch + 1) // 2, batch), random.choice([0, 3, 100]), random)
        if random.random() < 0.05:
            twins.cancel(random.choice(list(twins.runs)))
    twins.compare()
    for run_id, twin in twins.twin.items():
        by_batches = [row for row in rows(engine, run_id) if twins.counted(run_id, row)]
        assert by_batches == rows(engine, twin)


class Row(NamedTuple):
    """What a row says apart from names of its own; of a moment whether there is one."""

    table: str
    step_slug: str
    task_index: int
    attempt: int
    told: dict[str, Any]


class Twins(World):
    """What the worker of batches does is repeated with calls on the runs of `slug`."""

    def __init__(self, engine: Engine, scenarios: Sequence[Scenario], slug: str) -> None:
        self.slug = slug
        super().__init__(engine, scenarios)
        self.twin: dict[UUID, UUID] = {}
        self.uncounted: set[tuple[UUID, str, int, int]] = set()
        engine.call(REGISTER, WORKER, slug)
        inputs = [run_input for scenario in scenarios for run_input, _ in scenario.runs]
        for run_id, run_input in zip(self.runs, inputs, strict=True):
            [row] = engine.call(START_FLOW, slug, json.dumps(run_input))
            self.twin[run_id] = row["run_id"]

    def cancel(self, run_id: UUID) -> None:
        super().cancel(run_id)
        self.engine.cancel(self.twin[run_id], "enough")

    def apply(self, run_id: UUID, run: ModelRun, entry: Entry) -> bool:
        """The twin has the same tasks in hand; what does not count is not said to it."""
        counted = super().apply(run_id, run, entry)
        task = self.twin[run_id], entry.slug, entry.index
        outcome = entry.outcome
        if not counted:
            attempt = run.tasks[entry.slug, entry.index].attempts_count
            self.uncounted.add((run_id, entry.slug, entry.index, attempt))
        elif isinstance(outcome, Failed):
            call = FAIL_FOR_GOOD if outcome.permanent else FAIL
            self.engine.call(call, *task, outcome.message)
        else:
            absent = isinstance(outcome.output, Absent)
            self.engine.call(COMPLETE, *task, None if absent else json.dumps(outcome.output))
        return counted

    def counted(self, run_id: UUID, row: Row) -> bool:
        """A batch keeps in attempts what came too late; a call of pgflow was not made for it."""
        told = run_id, row.step_slug, row.task_index, row.attempt
        return row.table != "attempts" or told not in self.uncounted

    def hold(self, claims: Sequence[Claim]) -> None:
        super().hold(claims)
        for claim in claims:
            task = self.twin[claim.run_id], claim.step_slug, claim.task_index
            [row] = self.engine.call(START, self.slug, *task, WORKER)
            assert claim.input is None or json.loads(claim.input) == json.loads(row["input"])


def rows(engine: Engine, run_id: UUID) -> list[Row]:
    return [Row(*row.values()) for row in engine.call(ROWS, run_id, run_id, run_id, run_id)]


ROWS = """
select x.name, x.step_slug, x.task_index, x.attempt, (
  select jsonb_object_agg(
    c.key, case when c.key ~ '_at$' then to_jsonb(c.value <> 'null') else c.value end)
  from jsonb_each(x.told) c
  where c.key not in ('run_id', 'flow_slug', 'version_id', 'queue', 'message_id', 'attempt_id'))
from (
  select 'runs', '', 0, 0, to_jsonb(r) from pgflow.runs r where r.run_id = %s
  union all
  select 'step_states', s.step_slug, 0, 0, to_jsonb(s)
  from pgflow.step_states s where s.run_id = %s
  union all
  select 'step_tasks', t.step_slug, t.task_index, 0, to_jsonb(t)
  from pgflow.step_tasks t where t.run_id = %s
  union all
  select 'attempts', a.step_slug, a.task_index, a.attempt, to_jsonb(a)
  from pgflow.attempts a where a.run_id = %s
) x (name, step_slug, task_index, attempt, told)
order by 1, 2, 3, 4, 5
"""
REGISTER = """
insert into pgflow.workers (worker_id, queue_name, function_name) values (%s, %s, 'model')
on conflict (worker_id) do update set function_name = 'model' returning worker_id
"""
START_FLOW = "select run_id from pgflow.start_flow(%s, %s)"
START = """
select input::text from pgflow.start_tasks(%s, array(
  select message_id from pgflow.step_tasks
  where run_id = %s and step_slug = %s and task_index = %s), %s)
"""
COMPLETE = "select status from pgflow.complete_task(%s, %s, %s, %s)"
FAIL = "select status from pgflow.fail_task(%s, %s, %s, %s)"
# pgflow has no failure for good
FAIL_FOR_GOOD = """
select pgflow.write_one(run_id => %s, step_slug => %s, task_index => %s,
  outcome => 'failed_permanently', output => null, error_message => %s)::text
"""
