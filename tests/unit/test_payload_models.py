"""Pydantic's models as values: alone, inside other types, and as members of unions."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from subprocess import run
from typing import Annotated, Any, Literal

import pydantic
import pytest

from stepwell import DefinitionError, Done, Flow, Machine, MachineContext, job, step
from stepwell.define.calls import called
from stepwell.define.payload import decoder, encode
from stepwell.errors import PayloadError


class Price(pydantic.BaseModel):
    amount: float = pydantic.Field(alias="priceAmount", ge=0)
    note: str | None = None

    @pydantic.computed_field
    @property
    def is_free(self) -> bool:
        return self.amount == 0


class Line(pydantic.BaseModel):
    items: list[Price]


@dataclass
class Order:
    lines: list[Line]
    spare: Price | None = None


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


@dataclass
class Owner:
    pet: Cat | Dog


class Closed(pydantic.BaseModel, extra="forbid"):
    price: Price


class Tags(pydantic.RootModel[list[str]]):
    pass


def test_models_are_written_by_their_aliases_and_without_what_is_computed() -> None:
    assert encode(Price(priceAmount=2)) == b'{"priceAmount":2.0,"note":null}'
    closed = Closed(price=Price(priceAmount=0))
    assert decoder(Closed)(encode(closed)) == closed
    assert decoder(Tags)(encode(Tags(["a"]))) == Tags(["a"])


@pytest.mark.parametrize(
    ("wanted", "payload", "places"),
    [
        (Price, b'{"priceAmount": -1}', ["greater than or equal to 0 - at `$.priceAmount`"]),
        (Price, b"{}", ["Field required - at `$.priceAmount`"]),
        (Line, b'{"items": [{"priceAmount": 1}, 7]}', ["- at `$.items[1]`"]),
        (
            list[Order],
            b'[{"lines": [{"items": [{"priceAmount": "x"}, {"priceAmount": 1, "note": 2}]}]}]',
            [
                "valid number, unable to parse string as a number - at "
                "`$[0].lines[0].items[0].priceAmount`",
                "; Input should be a valid string - at `$[0].lines[0].items[1].note`",
            ],
        ),
        (Line, b'{"items": [1,2,3,4,5,6,7]}', ["- at `$.items[4]`; and 2 more"]),
        (dict[str, Cat | Dog], b'{"a": {"kind": "dog"}}', ["Field required - at `$[...].name`"]),
        (Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], b"{}", ["'kind'"]),
        (Cat, b"5", ["does not fit Cat", "- at `$`"]),
    ],
)
def test_what_does_not_fit_a_model_has_its_path_inside_the_value(
    wanted: Any, payload: bytes, places: list[str]
) -> None:
    with pytest.raises(PayloadError) as caught:
        decoder(wanted)(payload)
    for place in places:
        assert place in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_model_would_turn_into_null_is_refused_with_its_place() -> None:
    with pytest.raises(
        PayloadError, match=r"nan at \$\[0\]\.items\[1\]\.priceAmount is not a JSON"
    ):
        encode([Line.model_construct(items=[price(0.0), price(math.nan)])])


def price(amount: float) -> Price:
    return Price.model_construct(amount=amount)


def test_a_model_that_cannot_be_written_says_why() -> None:
    class Holder(pydantic.BaseModel, arbitrary_types_allowed=True):
        thing: object

    with pytest.raises(PayloadError, match=r"type .*Holder at \$\.a .*Unable to serialize"):
        encode({"a": Holder(thing=object())})


def test_a_union_of_models_inside_another_class_says_what_helps() -> None:
    with pytest.raises(PayloadError, match="let the class around it be a pydantic model too"):
        decoder(Owner)
    flow = Flow("pets")
    with pytest.raises(DefinitionError, match=r"parameter 'flow_input'.*pydantic model too"):

        @flow.step
        def feed(flow_input: Owner) -> None: ...


class Walk(Machine):
    order: Order
    pets: list[Cat | Dog]
    last: Cat | Dog | None = None

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Done:
        return Done()


@job
def feed(pet: Cat | Dog, price: Price | None = None) -> None: ...


def test_machines_and_jobs_have_them_too() -> None:
    order = Order([Line(items=[Price(priceAmount=1)])])
    walk = Walk(order=order, pets=[Dog(kind="dog", name="Rex")])
    again = Walk.decode(called(walk).input)
    assert (again.order, again.pets, again.last) == (order, walk.pets, None)
    call = feed.call(Dog(kind="dog", name="Rex"), price=Price(priceAmount=2))
    assert feed.read(call.payload) == call.arguments
    with pytest.raises(PayloadError, match=r"argument 'pet'.*Field required - at `\$\.name`"):
        feed.read(b'{"pet": {"kind": "dog"}}')
    with pytest.raises(PayloadError, match=r"the state of .*string - at `\$\.pets\[0\]\.name`"):
        Walk.decode(b'{"order": {"lines": []}, "pets": [{"kind": "dog", "name": 7}]}')


def test_nothing_here_imports_pydantic() -> None:
    code = "import sys, stepwell.define.payload as p; p.encode([1]); p.decoder(list[int])(b'[1]')"
    ran = run([sys.executable, "-c", f"{code}; assert 'pydantic' not in sys.modules"], check=False)
    assert ran.returncode == 0
