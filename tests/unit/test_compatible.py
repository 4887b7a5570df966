"""What a step returns, held against what the next one takes."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from stepwell import Cancel, DefinitionError, Flow, Snooze, Spawn, Stepwell
from stepwell.compile.flows import compile_flow
from stepwell.define.compatible import never_fits


@dataclass
class Order:
    id: int
    note: str = ""


@dataclass
class Rush(Order):
    until: int = 0


@dataclass
class Note:
    id: str


class Row(TypedDict):
    id: int
    extra: NotRequired[str]


class Needs(TypedDict):
    total: int


class Size(NamedTuple):
    width: int
    name: str = ""


class Red(enum.Enum):
    RED = "red"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Green(enum.Enum):
    GREEN = "green"


class Model(pydantic.BaseModel):
    id: int


class Created(msgspec.Struct, tag=True):
    id: int


class Deleted(msgspec.Struct, tag=True):
    id: int


@dataclass
class Tree:
    kids: list[Tree]
    name: int


@dataclass
class Bush:
    kids: list[Bush]
    name: str


UserId = NewType("UserId", int)
FITS: list[tuple[Any, Any]] = [
    (int, int),
    (int, float),
    (float, int),
    (int, Decimal),
    (int, int | None),
    (int | None, int),
    (None, int | None),
    (int | str, str),
    (UserId, Annotated[int, msgspec.Meta(ge=0)]),
    (str, date),
    (date, str),
    (str, Colour),
    (Red, Colour),
    (Colour, str),
    (Literal["red", "grey"], Colour),
    (Literal[1, "a"], str),
    (bytes, bytearray),
    (bytes, str),
    (timedelta, bytes),  # P232922D
    (Decimal, bytes),  # 12345678
    (bytes, timedelta),
    (bytes, UUID),
    (Decimal, UUID),  # 32 digits
    (Order, Row),
    (Row, Order),
    (Order, dict[str, Any]),
    (Order, dict[str, int | str]),
    (dict[str, int], Order),
    (Rush, Order),
    (Order, Rush),
    (list[int], Sequence[float]),
    (list, list[int]),
    (set[int], list[int]),
    (tuple[int, str], Size),
    (tuple[int, ...], tuple[int, int]),
    (Size, list[Any]),
    (list[Order], list[Row]),
    (dict[str, int], Mapping[str, float]),
    (dict[str, str], dict[int, str]),
    (Model, Order),
    (dict[str, str], Model),
    (Created, Created | Deleted),
    (Tree, Tree),
    (Any, int),
    (object, int),
    (int, Any),
]
NEVER: list[tuple[Any, Any, str]] = [
    (int, str, "int can never be read as str"),
    (bool, int, "bool can never be read as int"),
    (None, int, "None can never be read as int"),
    (date, datetime, "date can never be read as datetime"),
    (date, UUID, "date can never be read as UUID"),
    (Decimal, float, "Decimal can never be read as float"),
    (Colour, Green, "Colour can never be read as Green"),
    (Literal["a"], Colour, r"Literal\['a'\] can never be read as Colour"),
    (int | str, list[int] | Order, r"int \| str can never be read as list\[int\] \| Order"),
    (Order, Note, r"int can never be read as str at \$\.id"),
    (Order, int, "Order can never be read as int"),
    (Order, Needs, "Order can never be read as Needs, which needs 'total'"),
    (Order, dict[str, int], r"str can never be read as int at \$\.note"),
    (dict[str, str], Order, r"str can never be read as int at \$\.id"),
    (list[int], int, r"list\[int\] can never be read as int"),
    (list[Order], list[Note], r"int can never be read as str at \$\[0\]\.id"),
    (dict[str, list[int]], dict[str, list[str]], r"at \$\[\.\.\.\]\[0\]"),
    (tuple[int, int, int], Size, r"tuple\[int, int, int\] can never be read as Size"),
    (tuple[int, str], list[int], r"str can never be read as int at \$\[1\]"),
    (set[int], dict[str, int], r"set\[int\] can never be read as dict\[str, int\]"),
    (Created, Deleted, "Created can never be read as Deleted"),
    (Tree, Bush, r"int can never be read as str at \$\.name"),
    (Model, int, "Model can never be read as int"),
]


@pytest.mark.parametrize(("produced", "wanted"), FITS, ids=str)
def test_what_may_fit_is_allowed(produced: Any, wanted: Any) -> None:
    assert never_fits(produced, wanted) is None


@pytest.mark.parametrize(("produced", "wanted", "words"), NEVER, ids=str)
def test_what_can_never_fit_says_where(produced: Any, wanted: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        raise ValueError(never_fits(produced, wanted))


@pytest.fixture
def flow() -> Flow:
    flow = Flow("shop")

    @flow.step
    def order() -> Order | Snooze | Cancel: ...

    @flow.map
    def each(element: str) -> int | Snooze: ...

    @flow.step(if_exhausted="skip")
    async def lines() -> list[Order]: ...

    @flow.step
    def spawned() -> Spawn: ...

    flow.sleep("nap", 5)
    flow.signal("paid")
    return flow


def test_what_fits_is_defined(flow: Flow) -> None:
    @flow.step
    def one(
        order: Row, each: list[int], lines: list[Order], spawned: list[str], nap: None, paid: int
    ) -> None: ...

    @flow.map(over="lines")
    def two(line: Row) -> None: ...

    @flow.map(over="spawned")
    def three(result: int) -> None: ...

    assert len(flow.steps) == 9


def wrong_output(flow: Flow) -> None:
    @flow.step
    def charge(order: Note) -> None: ...


def wrong_reference(flow: Flow) -> None:
    @flow.step(flow.steps["order"])
    def charge(given: list[int]) -> None: ...


def wrong_collected(flow: Flow) -> None:
    @flow.step
    def charge(each: list[str]) -> None: ...


def wrong_whole_map(flow: Flow) -> None:
    @flow.step
    def charge(each: int) -> None: ...


def wrong_optional(flow: Flow) -> None:
    @flow.step
    def charge(lines: list[int] | None = None) -> None: ...


def wrong_nothing(flow: Flow) -> None:
    @flow.step
    def charge(nap: str) -> None: ...


def wrong_element(flow: Flow) -> None:
    @flow.map(over="lines")
    def charge(line: int) -> None: ...


@pytest.mark.parametrize(
    ("define", "words"),
    [
        (
            wrong_output,
            r"parameter 'order' gets what step 'order' returns, but int can .* at \$\.id",
        ),
        (wrong_reference, r"parameter 'given' gets what step 'order' returns, but Order can never"),
        (wrong_collected, r"'each' returns, but int can never be read as str at \$\[0\]"),
        (wrong_whole_map, r"'each' returns, but list\[int\] can never be read as int"),
        (wrong_optional, r"'lines' returns, but Order can never be read as int at \$\[0\]"),
        (wrong_nothing, "step 'nap' returns, but None can never be read as str"),
        (wrong_element, "'line' gets each element of what step 'lines' returns, but Order can"),
    ],
)
def test_a_parameter_that_nothing_can_reach_is_refused(
    flow: Flow, define: Callable[[Flow], None], words: str
) -> None:
    with pytest.raises(DefinitionError, match=f"flow 'shop', step 'charge': .*{words}.*; change"):
        define(flow)
    assert "charge" not in flow.steps


def test_elements_of_the_input_fit_the_maps_over_it() -> None:
    flow = Flow[list[Order], Any]("declared")
    with pytest.raises(DefinitionError, match="gets each element of the flow's input, but Order"):

        @flow.map
        def charge(order: str) -> None: ...

    later = Flow("later")

    @later.map
    def each(order: str) -> None: ...

    with pytest.raises(DefinitionError, match="step 'each': parameter 'order' gets each element"):

        @later.step
        def after(flow_input: list[int]) -> None: ...


class Output(TypedDict):
    total: int
    lines: NotRequired[list[Order]]


def promising(promised: Any) -> Flow[Any, Any]:
    flow = Flow[Any, promised]("promising")

    @flow.step
    def total() -> int: ...

    @flow.map
    def other(element: str) -> str: ...

    return flow


@pytest.mark.parametrize("promised", [Output, dict[str, Any], Any, Needs, Model | None])
def test_a_promise_that_the_steps_may_keep(promised: Any) -> None:
    assert compile_flow(promising(promised)).slug == "promising"


@pytest.mark.parametrize(
    ("promised", "words"),
    [
        (Order, "Output can never be read as Order, which needs 'id'"),
        (int, "Output can never be read as int"),
        (dict[str, int], r"list\[str\] can never be read as int at \$\.other"),
        (TypedDict("Bad", {"total": str}), r"int can never be read as str at \$\.total"),
    ],
)
def test_a_promise_that_the_steps_can_never_keep(promised: Any, words: str) -> None:
    said = rf"flow 'promising': it promises .*'total': int, 'other': list\[str\].*{words}"
    with pytest.raises(DefinitionError, match=said):
        compile_flow(promising(promised))
    assert Stepwell(flows=[promising(promised)])  # it is found when it is deployed or started


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (
            Flow[Order | Note, Any]("typed"),
            r"its input is .*Order \| .*Note, and no JSON.*tag=True",
        ),
        (
            Flow[Any, dict[str, complex]]("typed"),
            r"its output is dict\[str, complex\], and no JSON",
        ),
    ],
)
def test_a_promise_that_no_json_keeps(flow: Flow[Any, Any], words: str) -> None:
    flow.step(slug="only")(lambda: None)
    with pytest.raises(DefinitionError, match=f"flow 'typed': {words}"):
        compile_flow(flow)
