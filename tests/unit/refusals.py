"""What the tests of refused definitions share."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from stepwell import Flow, Step
from stepwell.errors import DefinitionError

Anyone = Step[..., Any]


@contextmanager
def machine_refused(*words: str) -> Generator[None]:
    with pytest.raises(DefinitionError) as caught:
        yield
    for word in ("machine Checkout", *words):
        assert word in str(caught.value)


@contextmanager
def flow_refused(*words: str, flow: str = "orders") -> Generator[None]:
    with pytest.raises(DefinitionError) as caught:
        yield
    for word in (f"flow {flow!r}", *words):
        assert word in str(caught.value)


def orders() -> Flow:
    flow = Flow("orders")

    @flow.step
    def reserve(flow_input: dict[str, int]) -> dict[str, int]: ...

    @flow.step
    def lines(reserve: dict[str, int]) -> list[str]: ...

    return flow


def take_line(line: str) -> str: ...


def other_step() -> Anyone:
    return Flow("other").step(slug="foreign")(lambda: 1)
