"""Steps of a machine: methods that can be named, so that a transition is a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, overload

from stepwell.define.options import StepOptions
from stepwell.errors import DefinitionError

M = TypeVar("M", covariant=True)  # only named: a class may override the steps of its base
C = TypeVar("C", contravariant=True)
R = TypeVar("R", covariant=True)
B = TypeVar("B")


class MachineStep(Generic[M, C, R]):
    """A step as it stands in its class: `Checkout.ship`. Calling it calls the method."""

    def __init__(
        self,
        method: Callable[[M, C], R],
        options: StepOptions,
        *,
        initial: bool = False,
        reachable: bool = False,
        transactional: bool = False,
        process: bool = False,
    ) -> None:
        self.method: Callable[[Any, C], R] = method
        self.options = options
        self.initial = initial
        self.reachable = reachable
        self.transactional = transactional
        self.process = process
        self.slug: str = getattr(method, "__name__", "")
        self.owner: type[Any] | None = None
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.slug, self.owner = name, owner

    def __repr__(self) -> str:
        return f"<step {self.owner.__name__ if self.owner else '?'}.{self.slug}>"

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> MachineStep[M, C, R]: ...
    @overload
    def __get__(self, instance: B, owner: type[B]) -> BoundStep[C, R]: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else BoundStep(self, instance)

    def __call__(self, machine: Any, ctx: C) -> R:
        return self.method(machine, ctx)


class BoundStep(Generic[C, R]):
    """A step of one machine: `self.ship`. Calling it calls the method, so it is easy to test."""

    __slots__ = ("_step", "machine")

    def __init__(self, step: MachineStep[Any, C, R], machine: Any) -> None:
        self._step = step
        self.machine = machine

    def __repr__(self) -> str:
        return f"<step {self.owner.__name__}.{self.slug}>"

    def __eq__(self, other: object) -> bool:
        """It names a step of a class: which machine it was asked of makes no difference."""
        if not isinstance(other, BoundStep):
            return NotImplemented
        named = cast("BoundStep[Any, Any]", other)
        return (self._step, self.owner) == (named._step, named.owner)

    def __hash__(self) -> int:
        return hash((self._step, self.owner))

    @property
    def slug(self) -> str:
        return self._step.slug

    @property
    def owner(self) -> type[Any]:
        """The class of the machine."""
        return cast("type[Any]", type(self.machine))

    def __call__(self, ctx: C) -> R:
        return self._step.method(self.machine, ctx)


Target = MachineStep[Any, Any, Any] | BoundStep[Any, Any]


def check_target(target: object, what: str) -> None:
    """Refuse anything but a reference to a step of a machine."""
    if not isinstance(target, MachineStep | BoundStep):
        raise DefinitionError(
            f"{what}: {target!r} is no step; name a method that is decorated with @step, for "
            f"example {what}(self.ship)"
        )
