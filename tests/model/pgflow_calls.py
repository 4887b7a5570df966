"""The SQL side by pgflow's own calls: one task at a time, no claim tokens."""

from __future__ import annotations

import json
from random import Random
from typing import Any
from uuid import UUID

from .behaviour import Behaviour
from .definition import FlowDef, Json
from .engine import WORKER, Engine
from .model import ModelRun
from .outcome import Completed, Failed, Outcome
from .rows import Absent, TaskKey
from .strategies import Scenario
from .world import renamed


def run_by_pgflow_calls(engine: Engine, scenario: Scenario, random: Random) -> None:
    """All runs on both sides to the end, with late calls between; then all their rows."""
    flow = renamed(scenario.flow)
    engine.define(flow)
    runs = [PgflowRun(engine, flow, given, behaviour) for given, behaviour in scenario.runs]
    while any([run.turn(random) for run in runs]):
        pass
    for run in runs:
        assert engine.snapshots([run.run_id]) == {run.run_id: run.model.snapshot()}


class PgflowRun:
    """One run on both sides."""

    def __init__(
        self, engine: Engine, flow: FlowDef, run_input: Json, behaviour: Behaviour
    ) -> None:
        self.engine = engine
        self.behaviour = behaviour
        self.model = ModelRun(flow, run_input)
        engine.call(
            "insert into pgflow.workers (worker_id, queue_name, function_name)"
            " values (%s, %s, 'model') on conflict do nothing returning worker_id",
            WORKER,
            flow.slug,
        )
        [row] = engine.call(START_FLOW, flow.slug, json.dumps(run_input))
        self.run_id: UUID = row["run_id"]
        assert row["status"] == self.model.run.status

    def turn(self, random: Random) -> bool:
        """Start what can be started, then end it, in any order; False when there was nothing."""
        started = self.start_tasks()
        random.shuffle(started)
        for key in started:
            self.commit(key, self.behaviour(key, self.model.tasks[key].attempts_count))
            late = random.choice(sorted(self.model.tasks))
            if self.model.tasks[late].status != "started":
                self.commit(late, random.choice([Completed("late"), Failed("late")]))
        return bool(started)

    def start_tasks(self) -> list[TaskKey]:
        """Every task is offered; those that a worker may have come back."""
        rows = self.engine.call(START, self.model.flow.slug, self.run_id, WORKER)
        started = {(row["step_slug"], row["task_index"]): row for row in rows}
        assert set(started) == self.model.claimable()
        for key, row in started.items():
            self._check_input(key, row)
            self.model.claim(*key)
        return sorted(started)

    def commit(self, key: TaskKey, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            outcome = Failed(outcome.message)  # pgflow has no permanent failure
            rows = self.engine.call(FAIL, self.run_id, *key, outcome.message)
        else:
            output = None if isinstance(outcome.output, Absent) else json.dumps(outcome.output)
            rows = self.engine.call(COMPLETE, self.run_id, *key, output)
        if not self.model.commit(*key, outcome) and isinstance(outcome, Failed):
            self.model.fail_late(*key, outcome.message)
        task = self.model.tasks[key]
        assert [row["status"] for row in rows] == [task.status]

    def _check_input(self, key: TaskKey, row: dict[str, Any]) -> None:
        step = self.model.flow.step(key[0])
        root = step.kind == "single" and not step.dependencies
        expected = {} if root else self.model.task_input(*key)
        assert json.loads(row["input"]) == expected
        flow_input = None if row["flow_input"] is None else json.loads(row["flow_input"])
        assert flow_input == (self.model.run.input if root else None)


START_FLOW = "select run_id, status from pgflow.start_flow(%s, %s)"
START = """
select step_slug, task_index, input::text, flow_input::text
from pgflow.start_tasks(%s, array(
  select message_id from pgflow.step_tasks where run_id = %s), %s)
"""
COMPLETE = "select status from pgflow.complete_task(%s, %s, %s, %s)"
FAIL = "select status from pgflow.fail_task(%s, %s, %s, %s)"
