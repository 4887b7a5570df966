"""A machine whose steps lead nowhere is refused where it is written, with class and step."""

# pyright: reportUnusedClass=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepwell import Done, Machine, MachineContext, Next, Spawn, step
from stepwell.define.machine import machine_of
from stepwell.define.outcome import Transition

from .refusals import machine_refused as refused


class Parcel(Machine):
    @step(initial=True)
    def pack(self, ctx: MachineContext) -> Done:
        return Done()


def test_no_initial_step() -> None:
    with refused("@step(initial=True)"):

        class Checkout(Machine):
            @step
            def start(self, ctx: MachineContext) -> Done:
                return Done()


def test_two_initial_steps() -> None:
    with refused("'start' and 'ship'", "one step"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()

            @step(initial=True)
            def ship(self, ctx: MachineContext) -> Done:
                return Done()


def test_a_target_that_does_not_exist() -> None:
    with refused("step 'start'", "'shp'", "did you mean 'ship'"):

        class Checkout(Machine):
            @step(initial=True)
            async def start(self, ctx: MachineContext) -> Any:
                return Next(self.shp)  # pyright: ignore

            @step(reachable=True)
            def ship(self, ctx: MachineContext) -> Done:
                return Done()


def test_a_target_that_does_not_exist_inside_a_function_inside() -> None:
    with refused("step 'start'", "'shp'"):

        class Checkout(Machine):
            order: int

            @step(initial=True)
            def start(self, ctx: MachineContext) -> Any:
                choose: Callable[[], Any] = lambda: Next(self.shp)  # pyright: ignore  # noqa: E731
                return [choose() for _ in range(self.order)]


def test_a_target_that_does_not_exist_in_another_method() -> None:
    with refused("method 'leave'", "'shp'"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Any:
                return self.leave()

            def leave(self) -> Any:
                return Next(self.shp)  # pyright: ignore


def test_a_field_that_does_not_exist() -> None:
    with refused("step 'start'", "'piad'", "did you mean 'paid'"):

        class Checkout(Machine):
            paid: bool = False

            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done(self.piad)  # pyright: ignore


def test_a_step_that_can_never_be_reached() -> None:
    with refused("step 'ship'", "self.ship", "reachable=True"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()

            @step
            def ship(self, ctx: MachineContext) -> Transition:
                return Next(self.ship)


def test_steps_that_only_lead_to_each_other() -> None:
    with refused("step 'ship'", "can be reached"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Done:
                return Done()

            @step
            def ship(self, ctx: MachineContext) -> Transition:
                return Next(self.back)

            @step
            def back(self, ctx: MachineContext) -> Transition:
                return Next(self.ship)


class EveryWay(Machine):
    order: int = 0

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition:
        return Spawn([], then=self.by_spawn)

    @step
    def by_spawn(self, ctx: MachineContext) -> Transition:
        return self.helper()

    def helper(self) -> Transition:
        return Next(EveryWay.by_class)

    @step
    def by_class(self, ctx: MachineContext) -> Transition:
        return self.chosen

    @property
    def chosen(self) -> Transition:
        return next(Next(target) for target in [self.by_property] if self.order)

    @step
    def by_property(self, ctx: MachineContext) -> Done:
        return Done()

    def on_error(self, error: Exception, ctx: MachineContext) -> Transition:
        return Next(self.by_error)

    @step
    def by_error(self, ctx: MachineContext) -> Done:
        return Done()

    @step(reachable=True)
    def by_others(self, ctx: MachineContext) -> Done:
        return Done()


def test_every_way_to_a_step_counts() -> None:
    assert len(machine_of(EveryWay).steps) == 6


def test_a_base_may_name_what_its_classes_add() -> None:
    class Base(Machine, abstract=True):
        @step(initial=True)
        def start(self, ctx: MachineContext) -> Any:
            return Next(self.ship)  # pyright: ignore

    class Whole(Base):
        @step
        def ship(self, ctx: MachineContext) -> Done:
            return Done()

    with refused("step 'start'", "'ship'"):

        class Checkout(Base):
            pass


def test_a_step_that_is_overridden_by_what_is_none() -> None:
    class Base(Machine, abstract=True):
        @step(initial=True)
        def start(self, ctx: MachineContext) -> Done:
            return Done()

    with refused("'start'", "decorate it with @step"):

        class Checkout(Base):
            def start(self, ctx: MachineContext) -> Done:  # pyright: ignore
                return Done()


def test_a_target_by_the_name_of_the_class_that_does_not_exist() -> None:
    with refused("step 'start'", "'shp'", "did you mean 'ship'"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Any:
                return [Next(target) for target in (Checkout.shp, Checkout.ship)]  # pyright: ignore

            @step
            def ship(self, ctx: MachineContext) -> Done:
                return Done(Checkout.__name__)


def test_a_target_that_is_a_method() -> None:
    with refused("step 'start'", "'ship' is a method", "@step"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Any:
                return Next(self.ship, delay=5)  # pyright: ignore

            def ship(self, ctx: MachineContext) -> Done:
                return Done()


def test_a_target_of_another_machine() -> None:
    with refused("step 'start'", "Parcel.pack is a step of another machine", "Spawn"):

        class Checkout(Machine):
            @step(initial=True)
            def start(self, ctx: MachineContext) -> Next:
                return Next(Parcel.pack)


def test_what_a_method_answers_may_be_a_target() -> None:
    class Checkout(Machine):
        @step(initial=True)
        def start(self, ctx: MachineContext) -> Next:
            return Next(self.choose(ctx) if ctx else self.chosen)

        def choose(self, ctx: MachineContext) -> Any:
            return Checkout.start

        @property
        def chosen(self) -> Any:
            take: Any = lambda self: self.anything  # pyright: ignore  # noqa: E731
            return take(Parcel.pack)

    assert Checkout().start.slug == "start"
