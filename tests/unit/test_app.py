"""An app lists definitions of all kinds, each name once; a machine may be there in versions."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Done, Flow, Machine, MachineContext, NotFound, Stepwell, job, step
from stepwell.errors import DefinitionError


class Checkout(Machine):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


class NewCheckout(Machine, name="checkout", version=2):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


class Twin(Machine, name="checkout"):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


class Base(Machine, abstract=True):
    pass


@job
def tidy() -> None: ...


@job(name="tidy")
def tidy_too() -> None: ...


def test_an_app_has_definitions_of_all_kinds() -> None:
    flow = Flow("orders")
    app = Stepwell(flows=[flow], machines=[Checkout, NewCheckout], jobs=[tidy], name="shop")
    assert (app.flows, app.machines, app.jobs) == ((flow,), (Checkout, NewCheckout), (tidy,))
    assert app.registry.slugs == ("orders", "checkout", "tidy")
    assert app.registry.machine("checkout", 2).cls is NewCheckout
    assert app.registry.job("tidy") is tidy
    assert repr(app) == "<Stepwell shop: orders, checkout, tidy>"


def test_one_definition_may_be_listed_twice() -> None:
    app = Stepwell(machines=[Checkout, Checkout], jobs=[tidy, tidy])
    assert (len(app.machines), len(app.jobs)) == (1, 1)


@pytest.mark.parametrize(
    ("definitions", "words"),
    [
        ({"machines": [Checkout, Twin]}, "two different machines.*'checkout'.*version 1"),
        ({"machines": [Machine]}, "no machine"),
        ({"machines": [Checkout()]}, "no machine"),
        ({"machines": [Base]}, "machine Base is abstract"),
        ({"jobs": [tidy, tidy_too]}, "two different jobs are called 'tidy'"),
        ({"jobs": [tidy.handler]}, "no job"),
        ({"jobs": [tidy], "flows": [Flow("tidy")]}, "a flow and a job are both called 'tidy'"),
        ({"machines": [Checkout], "flows": [Flow("checkout")]}, "a flow and a machine"),
        ({"schedules": ["daily"]}, "no schedule"),
    ],
)
def test_what_an_app_cannot_list(definitions: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Stepwell(**definitions)


def test_what_is_not_served_is_not_found() -> None:
    registry = Stepwell(machines=[Checkout, NewCheckout], jobs=[tidy]).registry
    with pytest.raises(NotFound, match=r"'checkout' of version 3.*version 1, 2"):
        registry.machine("checkout", 3)
    with pytest.raises(NotFound, match="did you mean 'tidy'"):
        registry.job("tidi")


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"flows is <Flow orders.*; list them: flows=\[...\]"):
        Stepwell(flows=Flow("orders"))  # pyright: ignore[reportArgumentType]


def test_annotations_of_what_is_not_there_are_warned_of_when_the_app_is_made() -> None:
    flow = Flow("orders")

    @flow.step
    def reserve(flow_input: NotHere, ctx: AlsoNotHere) -> Later: ...  # pyright: ignore # noqa: F821

    @job
    def send(ctx: AlsoNotHere, to: NotHere) -> None: ...  # pyright: ignore # noqa: F821

    class Parcel(Machine):
        weight: NotHere  # pyright: ignore # noqa: F821

        @step(initial=True)
        def start(self, ctx: MachineContext) -> Done:
            return Done()

    class Later: ...  # pyright: ignore[reportUnusedClass]

    with pytest.warns(UserWarning, match="stays plain JSON, unchecked; import it") as warned:
        Stepwell(flows=[flow], machines=[Parcel], jobs=[send])  # pyright: ignore
    assert [str(each.message).partition(" names ")[0] for each in warned] == [
        "flow 'orders', step 'reserve': the annotation of 'flow_input'",
        "flow 'orders', step 'reserve': the annotation of what it returns",
        "machine 'parcel': the annotation of 'weight'",
        "job 'send': the annotation of 'to'",
    ]
    assert {each.filename for each in warned} == {__file__}
