"""A batch of any size leaves every row as pgflow's calls leave it, one task after another."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .engine import Engine
from .strategies import Scenario, scenarios
from .test_against_sql import EXAMPLES, thorough
from .twins import run_as_twins
from .world import BATCHES


@pytest.mark.timeout(60 + EXAMPLES)
@pytest.mark.parametrize("_shard", range(2))
@thorough
@given(scenario=scenarios(), seed=st.integers(0, 2**32), batch=st.sampled_from(BATCHES))
def test_batches_and_pgflow_calls_end_with_the_same_rows(
    engine: Engine, _shard: int, scenario: Scenario, seed: int, batch: int
) -> None:
    run_as_twins(engine, scenario, Random(seed), batch)
