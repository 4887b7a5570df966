"""Every kind of type that a value may have, with values of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import msgspec
import pydantic
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

T = TypeVar("T")
Values = st.SearchStrategy[Any]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Size(NamedTuple):
    width: int
    name: str = ""


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


@dataclass
class Line:
    price: Decimal
    count: int = 1


@dataclass
class Order:
    id: UUID
    lines: list[Line] = field(default_factory=list[Line])
    parent: Order | None = None


@dataclass
class Box(Generic[T]):
    content: T


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float = 0.0


class Created(msgspec.Struct, tag=True):
    at: datetime


class Deleted(msgspec.Struct, tag=True):
    by: str


class Pair(msgspec.Struct, array_like=True):
    one: int
    other: str


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(alias="itemName")
    price: float = 0.0
    at: date | None = None


class Cart(pydantic.BaseModel):
    items: list[Item]
    owner: UUID


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


@dataclass
class Shipment:
    cart: Cart
    spare: Cart | None = None
    others: list[Cart] = field(default_factory=list[Cart])


UserId = NewType("UserId", int)
Short = Annotated[str, msgspec.Meta(max_length=5)]
Matrix = TypeAliasType("Matrix", list[list[int]])
Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
finite = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(timezones=offsets | st.just(UTC))
lines = st.builds(Line, decimals, st.integers())
items = st.builds(Item, itemName=text, price=finite, at=st.none() | st.dates())
carts = st.builds(Cart, items=st.lists(items, max_size=3), owner=st.uuids())
pets = st.builds(Cat, lives=st.integers(0, 9)) | st.builds(Dog, name=text)

KINDS: list[tuple[Any, Values]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, st.integers()),
    (float, finite),
    (str, text),
    (bytes, st.binary()),
    (datetime, moments | st.datetimes()),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Word, st.sampled_from(Word)),
    (Rights, st.sampled_from([Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE])),
    (Size, st.builds(Size, st.integers(), text)),
    (Movie, st.fixed_dictionaries({"title": text}, optional={"year": st.integers()})),
    (Line, lines),
    (Order, st.builds(Order, st.uuids(), st.lists(lines, max_size=3), st.none())),
    (Box[list[int]], st.builds(Box[list[int]], st.lists(st.integers()))),
    (Box[Box[str]], st.builds(Box[Box[str]], st.builds(Box[str], text))),
    (Point, st.builds(Point, finite, finite)),
    (Pair, st.builds(Pair, st.integers(), text)),
    (Created | Deleted, st.builds(Created, moments) | st.builds(Deleted, text)),
    (list[Point], st.lists(st.builds(Point, finite))),
    (set[int], st.sets(st.integers())),
    (frozenset[str], st.frozensets(text)),
    (set[Point], st.sets(st.builds(Point, finite))),
    (tuple[int, str], st.tuples(st.integers(), text)),
    (tuple[date, ...], st.lists(st.dates()).map(tuple)),
    (dict[str, Line], st.dictionaries(text, lines, max_size=3)),
    (dict[int, str], st.dictionaries(st.integers(), text)),
    (dict[date, bool], st.dictionaries(st.dates(), st.booleans())),
    (dict[UUID, int], st.dictionaries(st.uuids(), st.integers())),
    (dict[Colour, int], st.dictionaries(st.sampled_from(Colour), st.integers())),
    (Mapping[str, Sequence[int]], st.dictionaries(text, st.lists(st.integers()), max_size=3)),
    (int | None, st.none() | st.integers()),
    (Optional[Order], st.none()),  # noqa: UP045
    (Union[int, str, list[str]], st.integers() | text | st.lists(text)),  # noqa: UP007
    (int | float, st.integers() | finite),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (UserId, st.integers()),
    (Short, st.text("ab", max_size=5)),
    (Matrix, st.lists(st.lists(st.integers()), max_size=3)),
    (dict[str, Matrix], st.dictionaries(text, st.just([[1], []]), max_size=2)),
    (Item, items),
    (Cart, carts),
    (list[Cart], st.lists(carts, max_size=2)),
    (Shipment, st.builds(Shipment, carts, st.none() | carts, st.lists(carts, max_size=2))),
    (Pet, pets),
    (dict[str, list[Cat | Dog] | None], st.dictionaries(text, st.lists(pets), max_size=2)),
    (Cat | Dog | None, st.none() | pets),
]
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
