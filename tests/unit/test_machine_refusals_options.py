"""Steps, fields and options that could never be are refused where the machine is written."""

# pyright: reportUnusedClass=false

from __future__ import annotations

from collections.abc import Generator
from dataclasses import field
from typing import Any, Generic, TypeVar

import pytest

from stepwell import (
    DefinitionError,
    Done,
    Machine,
    MachineContext,
    PayloadError,
    Spawn,
    key_by,
    step,
)

from .refusals import machine_refused as refused


class Foreign:
    """No JSON can be this."""


@pytest.mark.parametrize(
    "method",
    [
        lambda self: None,  # pyright: ignore
        lambda self, ctx, more: None,  # pyright: ignore
        lambda self, *, ctx: None,  # pyright: ignore
        lambda *both: None,  # pyright: ignore
    ],
)
def test_a_step_with_other_parameters(method: Any) -> None:
    method.__name__, method.__qualname__ = "start", "Checkout.start"
    with refused("step 'start'", "(self, ctx)"):
        step(method)


def test_a_step_that_is_a_generator() -> None:
    with refused("step 'start'", "generator"):

        class Checkout(Machine):
            @step(initial=True)  # pyright: ignore
            def start(self, ctx: MachineContext):  # pyright: ignore
                yield Done()


def test_a_step_that_is_no_function() -> None:
    with pytest.raises(DefinitionError, match="decorate a method"):
        step(7)  # pyright: ignore


def test_an_option_of_a_step_that_does_not_exist() -> None:
    with refused("step 'start'", "'initail'", "did you mean 'initial'"):

        class Checkout(Machine):
            @step(initail=True)  # pyright: ignore
            def start(self, ctx: MachineContext) -> Done:
                return Done()


@pytest.mark.parametrize("name", ["run", "on_error", "decode"])
def test_a_step_with_a_reserved_name(name: str) -> None:
    def method(self: Any, ctx: Any) -> Done:
        return Done()

    with refused(f"step {name!r}", "reserved"):
        type("Checkout", (Machine,), {name: step(initial=True)(method), "__module__": __name__})


@pytest.mark.parametrize("name", ["_secret", "decode", "on_error"])
def test_a_field_with_a_reserved_name(name: str) -> None:
    with refused(f"field {name!r}", "rename"):
        type("Checkout", (Machine,), {"__annotations__": {name: int}, "__module__": __name__})


def test_a_field_that_is_a_step() -> None:
    with refused("'start'", "a step and a field"):

        class Checkout(Machine):
            start: int = step(initial=True)(lambda self, ctx: Done())  # pyright: ignore


@pytest.mark.parametrize(
    "wanted", [Foreign, list[Foreign], dict[str, list[Foreign]], complex, dict[str, int] | Foreign]
)
def test_a_field_that_no_json_fits(wanted: Any) -> None:
    with refused("field 'part'", "no JSON fits"):
        type("Checkout", (Machine,), {"__annotations__": {"part": wanted}, "__module__": __name__})


def test_a_default_that_is_not_json() -> None:
    with refused("field 'part'", "default is not JSON"):

        class Checkout(Machine):
            part: Any = Foreign()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("version", 0, "from 1"),
        ("version", True, "from 1"),
        ("version", "2", "from 1"),
        ("max_attempts", 0, "between 1"),
        ("timeout", 1.5, "timedelta of whole seconds"),
        ("max_running", 0, "between 1"),
        ("priority", 2**15, "between -32768 and 32767"),
        ("queue", "", "must be a name"),
        ("name", "a-b", "no slug"),
        ("name", "run", "reserved"),
        ("inline", "yes", "True or False"),
        ("backoff", "square", "'exponential'"),
        ("fairness_by", "", "no path"),
        ("concurrency", 7, "key_by"),
        ("rate_limit", "openai", "RateLimit"),
        ("max_attempt", 3, "did you mean 'max_attempts'"),
    ],
)
def test_an_option_of_a_machine_that_cannot_be(name: str, value: Any, remedy: str) -> None:
    options: dict[str, Any] = {name: value}
    with refused(remedy):

        class Checkout(Machine, **options):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()


def test_limits_go_by_fields_that_are_there() -> None:
    with refused("concurrency goes by 'ordr'", "did you mean 'order'"):

        class Checkout(Machine, concurrency=key_by("ordr")):
            order: int

            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()


def test_the_limits_of_a_step_go_by_fields_too() -> None:
    with refused("step 'start': concurrency goes by 'x'"):

        class Checkout(Machine):
            order: int

            @step(initial=True, concurrency=key_by("x.order"))
            def start(self, ctx: MachineContext) -> Done:
                return Done()


def test_the_limits_of_a_base_may_go_by_fields_of_its_subclasses() -> None:
    class Base(Machine, abstract=True, fairness_by="order"):
        """Its subclasses have the field."""


def _unlike_on_error(self: Any, error: Exception) -> None: ...


def _generating(self: Any, error: Exception, ctx: MachineContext) -> Generator[None]:
    yield


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (_unlike_on_error, "must take (self, error, ctx)"),
        (_generating, "a generator"),
        (7, "a plain method"),
        (staticmethod(_generating), "a plain method"),
    ],
)
def test_on_error_takes_an_error_and_the_context(method: Any, words: str) -> None:
    with refused("on_error", words):

        class Checkout(Machine):
            on_error = method

            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()


def test_no_run_is_started_of_an_abstract_machine() -> None:
    class Checkout(Machine, abstract=True):
        order: int

    for make in (lambda: Checkout(order=1), lambda: Spawn([Checkout(order=1)]), Machine):
        with pytest.raises(DefinitionError, match="is abstract"):
            make()


def test_initial_abstract_and_reachable_are_true_or_false() -> None:
    for name in ("initial", "reachable"):
        with pytest.raises(DefinitionError, match=f"{name} is 'False'"):
            step(**{name: "False"})(lambda self, ctx: Done())  # pyright: ignore
    with refused("abstract is 'no'"):

        class Checkout(Machine, abstract="no"): ...  # pyright: ignore


T = TypeVar("T")


class Numbered(Machine, Generic[T], abstract=True):
    number: T
    more: dict[str, T | None] = field(default_factory=dict[str, "T | None"])

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Done:
        return Done()


def test_the_fields_of_a_generic_base_are_of_the_types_of_the_subclass() -> None:
    class Middle(Numbered[list[T]], Generic[T], abstract=True): ...

    class Checkout(Middle[int]): ...

    assert Checkout.decode('{"number": [1], "more": {"a": [2]}}').more == {"a": [2]}
    for state in ('{"number": ["x"]}', '{"number": [], "more": {"a": ["x"]}}'):
        with pytest.raises(PayloadError, match="Expected `int`, got `str`"):
            Checkout.decode(state)


def test_a_type_that_nothing_says() -> None:
    with refused("field 'number'", "~T"):

        class Checkout(Numbered[T]): ...


@pytest.mark.parametrize("wrong", ["1", None, 1.5])
def test_a_default_that_does_not_fit(wrong: Any) -> None:
    with refused("field 'order'", "default does not fit"):

        class Checkout(Machine):
            order: int = wrong

            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()
