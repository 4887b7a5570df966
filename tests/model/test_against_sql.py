"""The property that the planner stands on: the SQL leaves every row as the model does."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .engine import Engine
from .strategies import Scenario, scenarios
from .world import World

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
thorough = settings(
    max_examples=20_000 if NIGHTLY else 200,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.timeout(36_000 if NIGHTLY else 300)
@pytest.mark.parametrize("_shard", range(4))
@thorough
@given(st.lists(scenarios(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_sql_and_model_end_with_the_same_rows(
    engine: Engine, _shard: int, flows: list[Scenario], random: Random
) -> None:
    world = World(engine, flows)
    while world.claim(random.choice([1, 5, 1000])) or world.held:
        world.commit(random.randint(1, 12), random.choice([0, 0, 3]), random)
        if random.random() < 0.05:
            world.cancel(random.choice(list(world.runs)))
    world.compare()
