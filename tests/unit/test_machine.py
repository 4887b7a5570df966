"""A machine is a class: steps are methods that can be named, fields are a state that is JSON."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from stepwell import Await, Done, Machine, MachineContext, Next, PayloadError, Stop, step
from stepwell.define.calls import called
from stepwell.define.machine import encode_state, machine_of
from stepwell.define.outcome import Transition
from stepwell.define.reference import BoundStep, MachineStep

AnyContext = cast("MachineContext", None)


@dataclass
class Line:
    item: str
    count: int = 1


class Checkout(Machine, queue="checkout", version=3):
    order: int
    paid: bool = False
    lines: list[Line] = []  # noqa: RUF012
    notes: dict[str, str] = field(default_factory=dict[str, str])

    @step(initial=True)
    async def start(self, ctx: MachineContext) -> Await:
        return Await("payment_confirmed", then=self.ship, timeout=timedelta(hours=1))

    @step(timeout=timedelta(minutes=5), max_attempts=9)
    def ship(self, ctx: MachineContext) -> Done | Stop:
        """Send it."""
        self.paid = True
        return Done({"order": self.order})


def test_the_fields_are_keyword_arguments() -> None:
    machine = Checkout(order=42, lines=[Line("tea")])
    assert (machine.order, machine.paid, machine.lines) == (42, False, [Line("tea")])
    assert machine == Checkout(order=42, lines=[Line("tea")])
    assert repr(machine).endswith(
        "Checkout(order=42, paid=False, lines=[Line(item='tea', count=1)], notes={})"
    )
    with pytest.raises(TypeError, match="order"):
        Checkout()  # pyright: ignore[reportCallIssue]


def test_no_two_machines_share_a_default() -> None:
    first, second = Checkout(order=1), Checkout(order=2)
    first.lines.append(Line("tea"))
    first.notes["a"] = "b"
    assert (second.lines, second.notes, Checkout(order=3).lines) == ([], {}, [])


def test_what_is_no_field_cannot_be_set_because_it_would_be_lost() -> None:
    machine = Checkout(order=1)
    with pytest.raises(AttributeError, match="Checkout has no field 'piad'"):
        machine.piad = True  # pyright: ignore[reportAttributeAccessIssue]


def test_the_facts_of_a_machine() -> None:
    facts = machine_of(Checkout)
    assert (facts.slug, facts.version, facts.queue, facts.initial) == (
        "checkout",
        3,
        "checkout",
        "start",
    )
    assert facts.cls is Checkout
    assert list(facts.steps) == ["start", "ship"]
    assert facts.steps["ship"].options.timeout == 300
    assert facts.steps["ship"].options.max_attempts == 9
    assert (facts.options.max_attempts, facts.options.max_delay, facts.options.jitter) == (
        3,
        300,
        0.1,
    )


def test_a_slug_is_the_class_name_in_snake_case_unless_it_is_said() -> None:
    class HTTPOrder2Checkout(Machine):
        @step(initial=True)
        def start(self, ctx: MachineContext) -> Done:
            return Done()

    class Other(Machine, name="checkout"):
        @step(initial=True)
        def start(self, ctx: MachineContext) -> Done:
            return Done()

    assert machine_of(HTTPOrder2Checkout).slug == "http_order2_checkout"
    assert machine_of(HTTPOrder2Checkout).queue == "http_order2_checkout"
    assert machine_of(Other).slug == "checkout"


def test_a_step_is_a_reference_that_knows_its_name_and_class() -> None:
    bound, unbound = Checkout(order=1).ship, Checkout.ship
    assert isinstance(bound, BoundStep)
    assert isinstance(unbound, MachineStep)
    assert (bound.slug, bound.owner) == (unbound.slug, unbound.owner) == ("ship", Checkout)
    assert repr(bound) == repr(unbound) == "<step Checkout.ship>"
    assert unbound.__doc__ == "Send it."


def test_a_step_is_called_like_its_method() -> None:
    machine = Checkout(order=7)
    assert machine.ship(AnyContext) == Done({"order": 7})
    assert machine.paid
    assert Checkout.ship(machine, AnyContext) == Done({"order": 7})
    assert asyncio.run(machine.start(AnyContext)).then.slug == "ship"


def test_the_state_goes_to_json_and_back() -> None:
    machine = Checkout(order=42, lines=[Line("tea", 2)], notes={"a": "ü"})
    state = encode_state(machine)
    assert state.decode() == (
        '{"order":42,"paid":false,"lines":[{"item":"tea","count":2}],"notes":{"a":"ü"}}'
    )
    again = Checkout.decode(state)
    assert type(again) is Checkout
    assert again == machine


def test_a_state_of_before_gets_the_new_defaults_and_loses_what_is_gone() -> None:
    machine = Checkout.decode('{"order": 1, "color": "red"}')
    assert machine == Checkout(order=1)
    machine.lines.append(Line("tea"))
    assert Checkout.decode('{"order": 1}').lines == []


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ('{"order": "x"}', r"\$\.order"),
        ('{"order": 1, "lines": [{"item": "a"}, {"item": 7}]}', r"\$\.lines\[1\]\.item"),
        ("{}", "order"),
        ("[1]", "object"),
        ("{", "JSON"),
    ],
)
def test_a_state_that_does_not_fit_says_where(state: str, place: str) -> None:
    with pytest.raises(PayloadError, match=rf"machine Checkout.*{place}"):
        Checkout.decode(state)


def test_a_state_that_is_not_json_says_where() -> None:
    machine = Checkout(order=1, notes={"a": cast("Any", object())})
    with pytest.raises(PayloadError, match=r"machine Checkout.*\$\.notes\.a"):
        encode_state(machine)


def test_a_field_that_was_never_set_is_named() -> None:
    class Late(Machine):
        ticket: str = field(init=False)

        @step(initial=True)
        def start(self, ctx: MachineContext) -> Done:
            return Done()

    with pytest.raises(PayloadError, match="'ticket' was never set"):
        encode_state(Late())
    assert Late.decode('{"ticket": "a"}').ticket == "a"


def test_a_machine_that_is_read_is_not_constructed_again() -> None:
    class Counted(Machine):
        seen: int = 0

        def __post_init__(self) -> None:
            self.seen += 1

        @step(initial=True)
        def start(self, ctx: MachineContext) -> Done:
            return Done()

    assert Counted.decode(encode_state(Counted())).seen == 1


class Shipment(Machine, abstract=True, queue="parcels", timeout=90):
    order: int
    tries: list[str] = []  # noqa: RUF012

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition:
        return Next(self.send)

    @step
    def send(self, ctx: MachineContext) -> Transition:
        return Done(self.carrier())

    def carrier(self) -> str:
        raise NotImplementedError


class Express(Shipment, version=2, timeout=30):
    phone: str

    def carrier(self) -> str:
        return f"rider {self.phone}"


class Slow(Shipment, name="slow_parcel"):
    @step(max_attempts=50)
    def send(self, ctx: MachineContext) -> Transition:
        return Next(self.wait_for_ship, delay=timedelta(days=2))

    @step
    def wait_for_ship(self, ctx: MachineContext) -> Done:
        return Done()


def test_machines_share_fields_steps_and_options_of_a_base() -> None:
    express, slow = machine_of(Express), machine_of(Slow)
    assert Express(order=1, phone="7").send(AnyContext) == Done("rider 7")
    assert Express.decode('{"order": 1, "phone": "7"}') == Express(order=1, phone="7")
    assert (express.slug, express.version, express.options.timeout) == ("express", 2, 30)
    assert (slow.slug, slow.version, slow.options.timeout) == ("slow_parcel", 1, 90)
    assert express.queue == slow.queue == "parcels"
    assert list(slow.steps) == ["start", "send", "wait_for_ship"]
    assert slow.steps["send"].options.max_attempts == 50
    assert express.steps["start"] is slow.steps["start"]


def test_a_field_may_be_of_a_class_that_comes_later() -> None:
    assert Early.decode('{"part": {"size": 3}}').part == Later(3)
    with pytest.raises(PayloadError, match=r"\$\.part\.size"):
        Early.decode('{"part": {"size": "x"}}')


class Early(Machine):
    part: Later

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


@dataclass
class Later:
    size: int


def test_a_state_that_could_not_be_read_again_is_not_written() -> None:
    """Neither at a start nor with an outcome: the step that set it is the one that fails."""
    machine = Checkout(order="seven")  # pyright: ignore[reportArgumentType]
    for write in (encode_state, called):
        with pytest.raises(PayloadError, match=r"machine Checkout: .*Expected `int`.*\$\.order"):
            write(machine)


def test_targets_can_be_compared() -> None:
    machine = Checkout(order=1)
    assert asyncio.run(machine.start(AnyContext)) == asyncio.run(
        Checkout(order=2).start(AnyContext)
    )
    assert Next(machine.ship) == Next(machine.ship)
    assert Next(machine.ship) != Next(machine.start)
    assert len({machine.ship, machine.ship, machine.start}) == 2
