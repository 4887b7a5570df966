"""The property that the planner stands on: the SQL leaves every row as the model does."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .engine import Engine
from .strategies import Scenario, scenarios
from .world import BATCHES, run_side_by_side

# Each example is one to six flows with one to three runs each; a nightly run asks for 20000.
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.timeout(60 + EXAMPLES)
@pytest.mark.parametrize("_shard", range(4))
@thorough
@given(
    flows=st.lists(scenarios(), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    batch=st.sampled_from(BATCHES),
)
def test_sql_and_model_end_with_the_same_rows(
    engine: Engine, _shard: int, flows: list[Scenario], seed: int, batch: int
) -> None:
    run_side_by_side(engine, flows, Random(seed), batch)
