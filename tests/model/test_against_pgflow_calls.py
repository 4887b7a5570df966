"""pgflow's calls are batches of one: they leave the rows that the model leaves."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .engine import Engine
from .pgflow_calls import run_by_pgflow_calls
from .strategies import Scenario, scenarios
from .test_against_sql import EXAMPLES, thorough


@pytest.mark.timeout(60 + EXAMPLES)
@thorough
@given(scenario=scenarios(), seed=st.integers(0, 2**32))
def test_pgflow_calls_and_model_end_with_the_same_rows(
    engine: Engine, scenario: Scenario, seed: int
) -> None:
    run_by_pgflow_calls(engine, scenario, Random(seed))
