"""The registry: definitions come, are found by slug or by themselves, and go."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stepwell import (
    DefinitionError,
    Done,
    Flow,
    InvalidDefinition,
    Machine,
    MachineContext,
    NotFound,
    Registry,
    Stepwell,
    job,
    step,
)

orders = Flow("orders", max_attempts=5, base_delay=2, timeout=30)


@orders.step
def reserve(flow_input: int) -> int:
    return flow_input


@orders.step
def ship(reserve: int) -> int:
    return reserve


@job(name="tidy")
def tidy() -> None: ...


class Checkout(Machine):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


class NewCheckout(Machine, name="checkout", version=2):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


class Abstract(Machine, abstract=True):
    pass


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_what_is_registered_is_found_by_slug_and_by_itself(registry: Registry) -> None:
    assert registry.register(orders) is None
    found = registry.get("orders")
    assert found == registry.get(orders)
    assert (found.definition, found.slug, found.kind) == (orders, "orders", "flow")
    assert (found.max_attempts, found.base_delay, found.timeout) == (5, 2, 30)
    assert found.steps == ("reserve", "ship")
    assert registry.flow("orders") is orders


def test_all_kinds_are_registered(registry: Registry) -> None:
    for each in (orders, tidy, Checkout, NewCheckout):
        assert registry.register(each) is None
    assert [(e.kind, e.slug, e.version) for e in registry.list()] == [
        ("flow", "orders", 0),
        ("job", "tidy", 1),
        ("machine", "checkout", 1),
        ("machine", "checkout", 2),
    ]
    assert registry.slugs == ("orders", "tidy", "checkout")
    assert registry.get("checkout").definition is NewCheckout
    assert registry.get("checkout", version=1).definition is Checkout
    assert registry.get(tidy).steps == ("perform",)


def test_what_is_not_there_is_not_found(registry: Registry) -> None:
    registry.register(orders)
    with pytest.raises(NotFound, match=r"'order' is not registered.*did you mean 'orders'"):
        registry.get("order")
    with pytest.raises(NotFound):
        registry.get(tidy)
    registry.register(Checkout)
    with pytest.raises(NotFound):
        registry.get("checkout", version=7)


def test_again_with_the_same_one_changes_nothing(registry: Registry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.register(orders) is None
        registry.register_or_raise(orders)
    assert [each.slug for each in registry.list()] == ["orders"]


def test_the_last_one_of_a_slug_counts_and_there_is_a_warning(registry: Registry) -> None:
    registry.register(orders)
    registry.register(tidy)
    newer = Flow("orders")
    with pytest.warns(UserWarning, match="another flow called 'orders'") as caught:
        registry.register(newer)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning) as caught:
        registry.register_or_raise(orders)
    assert caught[0].filename == __file__
    assert registry.get("orders").definition is orders
    assert [each.slug for each in registry.list()] == ["orders", "tidy"]
    with pytest.raises(NotFound):
        registry.get(newer)


def test_a_flow_that_grows_is_seen_as_it_is(registry: Registry) -> None:
    growing = Flow("growing")
    registry.register(growing)
    assert registry.get("growing").steps == ()

    @growing.step
    def later(flow_input: int) -> int:
        return flow_input

    assert registry.get("growing").steps == (later.slug,)


def refused(registry: Registry, what: Any) -> InvalidDefinition:
    """Both ways agree, and nothing was taken in."""
    refusal = registry.register(what)
    assert isinstance(refusal, InvalidDefinition)
    with pytest.raises(InvalidDefinition) as caught:
        registry.register_or_raise(what)
    assert (caught.value.reason, str(caught.value)) == (refusal.reason, str(refusal))
    return refusal


@pytest.mark.parametrize("what", [str, 7, None, ship.handler, Machine, Abstract])
def test_what_is_no_definition_is_refused(registry: Registry, what: Any) -> None:
    assert refused(registry, what).reason == "invalid_flow_module"
    assert registry.list() == []


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        f"{__name__}:",
        f"{__name__}:nothing",
        "no_such_package.flows:orders",
        ":orders",
    ],
)
def test_what_cannot_be_loaded_is_refused(registry: Registry, name: str) -> None:
    refusal = refused(registry, name)
    assert refusal.reason == "not_loaded"
    assert repr(name) in str(refusal)


def test_a_definition_can_be_named(registry: Registry) -> None:
    assert registry.register(f"{__name__}:orders") is None
    assert registry.get("orders").definition is orders
    assert refused(registry, f"{__name__}:refused").reason == "invalid_flow_module"


def test_one_slug_is_one_kind(registry: Registry) -> None:
    registry.register(tidy)
    refusal = refused(registry, Flow("tidy"))
    assert refusal.reason == "slug_taken"
    assert "a job and a flow are both called 'tidy'" in str(refusal)
    assert registry.get("tidy").definition is tidy


def test_what_is_unregistered_is_gone_and_absent_ones_are_no_matter(registry: Registry) -> None:
    for each in (orders, tidy, Checkout, NewCheckout):
        registry.register(each)
    registry.unregister("orders")
    registry.unregister(tidy)
    registry.unregister(Checkout)
    assert [each.definition for each in registry.list()] == [NewCheckout]
    for each in ("orders", tidy, Checkout, "nobody"):
        registry.unregister(each)
    registry.unregister("checkout")
    assert registry.list() == []
    assert registry.register(Flow("tidy")) is None  # the slug is free for another kind


def test_unregistering_one_leaves_the_other_of_its_slug(registry: Registry) -> None:
    registry.register(Flow("orders"))
    registry.unregister(orders)
    assert registry.slugs == ("orders",)


def test_an_app_has_one(registry: Registry) -> None:
    app = Stepwell(flows=[orders], jobs=[tidy])
    assert app.registry.get("orders").definition is orders
    with pytest.raises(DefinitionError, match="two different flows"):
        Registry(flows=[orders, Flow("orders")])


def test_who_reads_sees_all_of_a_change_or_nothing(registry: Registry) -> None:
    flows = [Flow(f"flow_{n}") for n in range(20)]

    def come_and_go(mine: list[Flow[Any, Any]]) -> None:
        for _ in range(20):
            for flow in mine:
                registry.register(flow)
                assert registry.get(flow).slug in registry.flows
            for flow in mine:
                registry.unregister(flow)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(come_and_go, flows[n::4]) for n in range(4)]:
            done.result(60)
    assert registry.list() == []
