"""Runs of several flows in the SQL and in the model at once, moved by one worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from random import Random
from uuid import UUID, uuid4

from .batch import Entry, commit_batch
from .behaviour import Behaviour
from .definition import FlowDef
from .engine import Claim, Engine
from .model import ModelRun
from .strategies import Scenario

_names = (f"f{uuid4().hex[:8]}_{number}" for number in count())


# The largest batch of one example; the last ones mean everything in hand.
BATCHES = [1, 4, 12, 1000, 1000]


def run_side_by_side(
    engine: Engine, scenarios: Sequence[Scenario], random: Random, batch: int
) -> None:
    """Both sides to the end, in batches of up to `batch` outcomes; then all their rows."""
    world = World(engine, scenarios)
    while world.claim(random.choice([2, 1000, 1000])) or world.held:
        world.commit(random.randint((batch + 1) // 2, batch), random.choice([0, 1, 3, 100]), random)
        if random.random() < 0.05:
            world.cancel(random.choice(list(world.runs)))
    world.compare()


class World:
    """`claim` and `commit` do the same on both sides and check that both answer the same."""

    def __init__(self, engine: Engine, scenarios: Sequence[Scenario]) -> None:
        self.engine = engine
        flows = [renamed(scenario.flow) for scenario in scenarios]
        self.lanes = [engine.define(flow) for flow in flows]
        self.runs: dict[UUID, ModelRun] = {}
        self.behaviours: dict[UUID, Behaviour] = {}
        for lane, scenario in zip(self.lanes, scenarios, strict=True):
            ids = engine.start(lane.queue, [run_input for run_input, _ in scenario.runs])
            for run_id, (run_input, behaviour) in zip(ids, scenario.runs, strict=True):
                self.runs[run_id] = ModelRun(scenario.flow, run_input)
                self.behaviours[run_id] = behaviour
        self.held: list[tuple[UUID, Entry]] = []
        self.spent: list[tuple[UUID, Entry]] = []

    def claim(self, want: int) -> bool:
        """Take up to `want` tasks; False when there was none."""
        waiting = self.claimable()
        claims = self.engine.claim(self.lanes, want)
        assert len(claims) == min(want, len(waiting)), f"claimable: {waiting}, got {claims}"
        self.hold(claims)
        return bool(claims)

    def commit(self, size: int, want: int, random: Random) -> None:
        """Write `size` of the outcomes in hand, in any order, with old ones and doubles between."""
        order = list(self.runs)
        self.held.sort(key=lambda told: (order.index(told[0]), told[1].slug, told[1].index))
        random.shuffle(self.held)
        batch, self.held = self.held[:size], self.held[size:]
        ids = {entry.message_id for _, entry in batch}
        old = [told for told in self.spent if told[1].message_id not in ids]
        sent = batch + random.sample(old, min(len(old), random.randint(0, 2))) + batch[:1]
        write = random.choice([self.engine.commit, self.engine.commit_and_claim])
        turn = write([entry for _, entry in sent], self.lanes, want)

        committed: set[int] = set()
        for run_id in {run_id for run_id, _ in batch}:
            own = [entry for owner, entry in batch if owner == run_id]
            committed |= commit_batch(self.runs[run_id], own, partial(self.apply, run_id))
        assert turn.committed == committed
        ready = len(self.claimable())
        assert len(turn.claims) <= min(want, ready)
        assert write == self.engine.commit or len(turn.claims) == min(want, ready)
        self.hold(turn.claims)
        self.spent += batch

    def apply(self, run_id: UUID, run: ModelRun, entry: Entry) -> bool:
        """One outcome, where the batch has it; False when it came too late."""
        return run.commit(entry.slug, entry.index, entry.outcome)

    def cancel(self, run_id: UUID) -> None:
        self.engine.cancel(run_id, "enough")
        self.runs[run_id].cancel("enough")

    def claimable(self) -> set[tuple[UUID, str, int]]:
        return {(run_id, *key) for run_id, run in self.runs.items() for key in run.claimable()}

    def compare(self) -> None:
        """All rows of all runs are the same on both sides."""
        written = self.engine.snapshots(list(self.runs))
        for run_id, run in self.runs.items():
            assert written[run_id] == run.snapshot()

    def hold(self, claims: Sequence[Claim]) -> None:
        inputs = [claim.run_id for claim in claims if claim.flow_input is not None]
        assert sorted(inputs) == sorted({claim.run_id for claim in claims})  # once for each run
        for claim in claims:
            run = self.runs[claim.run_id]
            attempt = run.claim(claim.step_slug, claim.task_index)
            assert claim.attempt == attempt
            _check_input(run, claim)
            key = claim.step_slug, claim.task_index
            outcome = self.behaviours[claim.run_id](key, attempt)
            entry = Entry(claim.message_id, claim.claim_token, *key, outcome)
            self.held.append((claim.run_id, entry))


def renamed(flow: FlowDef) -> FlowDef:
    """A name of its own in the database, which holds many examples."""
    return replace(flow, slug=next(_names))


def _check_input(run: ModelRun, claim: Claim) -> None:
    got = None if claim.input is None else json.loads(claim.input)
    assert got == run.task_input(claim.step_slug, claim.task_index)
    if claim.flow_input is not None:
        assert json.loads(claim.flow_input) == run.run.input
