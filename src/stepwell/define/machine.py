"""A machine: steps that are methods, and fields that are its durable state."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Self,
    TypeVar,
    Unpack,
    cast,
    dataclass_transform,
    overload,
)

from stepwell.define.annotations import annotations_of
from stepwell.define.choices import (
    MachineStepChoices,
    RunChoices,
    check_bool,
    check_known,
    process_of,
    transactional_of,
)
from stepwell.define.context import MachineContext
from stepwell.define.function import check_no_generator, names_above
from stepwell.define.options import RunOptions, check_paths, run_options, step_options
from stepwell.define.outcome import Transition
from stepwell.define.reachable import check_names, check_reachable
from stepwell.define.reference import MachineStep
from stepwell.define.slug import FLOW_RESERVED, MACHINE_RESERVED, check_new, check_slug, meant
from stepwell.define.startable import Startable
from stepwell.define.state import State, safe_default
from stepwell.errors import DefinitionError

M = TypeVar("M")
C = TypeVar("C")
Answer = Transition | Coroutine[Any, Any, Transition]
R = TypeVar("R", bound=Answer)

AnyStep = MachineStep[Any, Any, Any]
_DEFAULTS: RunChoices = {"max_attempts": 3, "max_delay": 300, "jitter": 0.1}


@dataclass(frozen=True, slots=True)
class MachineDef:
    """The facts of a machine's class. `steps` by slug, in the order they were written."""

    slug: str
    version: int
    cls: type[Machine]
    options: RunOptions
    steps: Mapping[str, AnyStep]
    initial: str
    state: State
    choices: Mapping[str, Any]

    @property
    def queue(self) -> str:
        return self.options.queue or self.slug


class MachineChoices(RunChoices, total=False):
    """The keyword arguments of a machine's class."""

    inline: bool


@dataclass_transform(kw_only_default=True, field_specifiers=(dataclasses.field,))
class Machine(Startable):
    """A state machine. The annotated fields are its state, which is kept with every outcome.

    >>> from datetime import timedelta
    >>> from stepwell import Await, Done, MachineContext, Stop
    >>> class Checkout(Machine, queue="checkout", version=1):
    ...     order: int
    ...     paid: bool = False
    ...
    ...     @step(initial=True)
    ...     async def start(self, ctx: MachineContext) -> Await:
    ...         return Await("payment_confirmed", then=self.ship, timeout=timedelta(hours=1))
    ...
    ...     @step
    ...     async def ship(self, ctx: MachineContext) -> Done | Stop:
    ...         if not ctx.awaited:
    ...             return Stop("payment never came")
    ...         self.paid = True
    ...         return Done({"order": self.order})
    >>> Checkout(order=42).paid
    False
    """

    __machine__: ClassVar[MachineDef]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        abstract: bool = False,
        **choices: Unpack[MachineChoices],
    ) -> None:
        """`abstract`: a base for machines, which is none itself."""
        super().__init_subclass__()
        what = f"machine {cls.__name__}"
        check_bool("abstract", abstract, what)
        check_known(choices, MachineChoices, what)
        _make_fields(cls, what)
        inherited = getattr(cls, "__machine__", None)
        said = {**(inherited.choices if inherited else _DEFAULTS), **choices}
        steps = _steps_of(cls, what)
        state = State(cls, names_above(), what)
        options = run_options(said, what, _DEFAULTS)
        initial = "" if abstract else _initial_of(steps, what)
        if not abstract:
            check_names(cls, steps, state.fields, what)
            check_reachable(cls, steps, what)
            state.check_bound()
            _check_paths(options, steps, state, what)
        _check_on_error(cls, what)
        cls.__machine__ = MachineDef(
            slug=check_slug(slug_of(cls) if name is None else name, what, FLOW_RESERVED),
            version=_checked_version(version, what),
            cls=cls,
            options=options,
            steps=MappingProxyType(steps),
            initial=initial,
            state=state,
            choices=said,
        )

    if TYPE_CHECKING:

        def on_error(
            self, error: Exception, ctx: MachineContext, /
        ) -> Transition | Coroutine[Any, Any, Transition | None] | None:
            """Yours to write: what follows an error of a step. None leaves it to the retries."""
            ...

    else:  # or a type checker would let every name pass

        def __new__(cls, *_: object, **fields: object) -> Self:
            facts = getattr(cls, "__machine__", None)
            if facts is None or not facts.initial:
                raise DefinitionError(
                    f"machine {cls.__name__} is abstract: no run can be started of it; "
                    "make one of the classes made of it"
                )
            return super().__new__(cls)

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse what is no field: it would be lost with the step."""
            known = type(self).__machine__.state.fields
            if name not in known:
                raise AttributeError(
                    f"{type(self).__name__} has no field {name!r}{meant(name, known)}; "
                    "declare it in the class, so that it is kept"
                )
            object.__setattr__(self, name, value)

    @classmethod
    def decode(cls, state: bytes | str) -> Self:
        """The machine with this state (JSON); PayloadError says where it does not fit."""
        return cast("Self", cls.__machine__.state.decode(state))


def machine_of(cls: type[Machine]) -> MachineDef:
    """The facts of a machine's class."""
    return cls.__machine__


def encode_state(machine: Machine) -> bytes:
    """The fields of a machine as JSON; PayloadError says which is none."""
    return type(machine).__machine__.state.encode(machine)


@overload
def step(method: Callable[[M, C], R], /) -> MachineStep[M, C, R]: ...
@overload
def step(
    **choices: Unpack[MachineStepChoices],
) -> Callable[[Callable[[M, C], R]], MachineStep[M, C, R]]: ...
def step(*given: Any, **choices: Any) -> Any:
    """Make a method a step of its machine. It takes `self` and `ctx`, sync or async, and answers
    with Next, Retry, Await, Spawn, Done or Stop."""

    def declare(method: Any) -> AnyStep:
        cls, _, slug = getattr(method, "__qualname__", repr(method)).rpartition(".")
        what = f"machine {cls.rpartition('.')[2] or '?'}, step {slug!r}"
        check_known(choices, MachineStepChoices, what)
        for name in ("initial", "reachable"):
            check_bool(name, choices.get(name, False), what)
        _check_method(method, what)
        return MachineStep(
            method,
            step_options(choices, what),
            initial=choices.get("initial", False),
            reachable=choices.get("reachable", False),
            transactional=transactional_of(choices, what),
            process=process_of(choices, what),
        )

    return declare(given[0]) if given else declare


def slug_of(cls: type[Any]) -> str:
    """The name of a class as a slug: `HTTPCheckout` is `http_checkout`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
    return words.lower()


def _make_fields(cls: type[Any], what: str) -> None:
    for name in annotations_of(cls):
        if isinstance(vars(cls).get(name), MachineStep):
            raise DefinitionError(f"{what}: {name!r} is a step and a field; rename one")
        if name in vars(cls):
            setattr(cls, name, safe_default(vars(cls)[name]))
    try:
        dataclasses.dataclass(kw_only=True)(cls)
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"{what}: its fields cannot be: {error}") from error


def _steps_of(cls: type[Any], what: str) -> dict[str, AnyStep]:
    """All steps, those of the bases first, as attributes resolve."""
    found: dict[str, AnyStep] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, MachineStep):
                found[name] = cast("AnyStep", getattr(cls, name))
            elif name in found:
                raise DefinitionError(
                    f"{what}: {name!r} is a step in a base class, but not in {base.__name__}; "
                    "decorate it with @step, or rename it"
                )
    for index, slug in enumerate(found):
        check_slug(slug, f"{what}, step {slug!r}", MACHINE_RESERVED)
        check_new(slug, list(found)[:index], f"{what}, step {slug!r}")
    return found


def _initial_of(steps: Mapping[str, AnyStep], what: str) -> str:
    initial = [slug for slug, found in steps.items() if found.initial]
    if not initial:
        raise DefinitionError(
            f"{what}: no step is the first; decorate one with @step(initial=True) "
            "(a base for other machines says abstract=True)"
        )
    if len(initial) > 1:
        raise DefinitionError(
            f"{what}: {' and '.join(map(repr, initial))} are both initial; a run starts at one step"
        )
    return initial[0]


def _check_paths(
    options: RunOptions, steps: Mapping[str, AnyStep], state: State, what: str
) -> None:
    check_paths(options, state.fields, "field", what)
    for slug, found in steps.items():
        check_paths(found.options, state.fields, "field", f"{what}, step {slug!r}")


def _checked_version(version: object, what: str) -> int:
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31:
        raise DefinitionError(f"{what}: version is {version!r}; it must be a whole number from 1")
    return version


def _check_method(method: Any, what: str) -> None:
    if not inspect.isfunction(method):
        raise DefinitionError(f"{what}: decorate a method with @step, not {method!r}")
    said = _unlike(method, 2, what)
    if said is not None:
        raise DefinitionError(
            f"{what}: it takes ({said}); a step takes (self, ctx), and all else is in the fields"
        )


def _check_on_error(cls: type[Any], what: str) -> None:
    method: object = inspect.getattr_static(cls, "on_error", None)
    if method is None:
        return
    what = f"{what}, on_error"
    if not inspect.isfunction(method):
        raise DefinitionError(f"{what}: it is {method!r}; write it as a plain method")
    said = _unlike(method, 3, what)
    if said is not None:
        raise DefinitionError(f"{what}: it takes ({said}); it must take (self, error, ctx)")


def _unlike(method: Any, count: int, what: str) -> str | None:
    """What a method takes, when that is not so many values by their places."""
    check_no_generator(method, what, "return an outcome")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(method).parameters.values())
    needed = [p for p in parameters if p.default is inspect.Parameter.empty]
    if len(needed) == count and all(p.kind in positional for p in needed):
        return None
    return ", ".join(map(str, parameters))
