"""What the types of annotations are in JSON, as msgspec describes them."""

from __future__ import annotations

from typing import Any, Literal, cast

from msgspec import inspect

from stepwell.define.annotations import shown
from stepwell.define.models import is_model

Kind = Literal["null", "bool", "int", "float", "text", "array", "object", "any"]

BASE64 = (inspect.BytesType, inspect.ByteArrayType, inspect.MemoryViewType)
_KINDS: dict[type[Any], Kind] = {
    inspect.NoneType: "null",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    **dict.fromkeys((inspect.StrType, inspect.UUIDType, inspect.DecimalType, *BASE64), "text"),
    inspect.DateTimeType: "text",
    inspect.DateType: "text",
    inspect.TimeType: "text",
    inspect.TimeDeltaType: "text",
    inspect.ListType: "array",
    inspect.SetType: "array",
    inspect.FrozenSetType: "array",
    inspect.CollectionType: "array",
    inspect.VarTupleType: "array",
    inspect.TupleType: "array",
    inspect.NamedTupleType: "array",
    inspect.DictType: "object",
    inspect.TypedDictType: "object",
    inspect.DataclassType: "object",
}
_OF_VALUES: dict[type[Any], Kind] = {type(None): "null", bool: "bool", int: "int", str: "text"}
_NAMES: dict[type[Any], str] = {
    inspect.NoneType: "None",
    inspect.AnyType: "Any",
    inspect.UUIDType: "UUID",
    inspect.DecimalType: "Decimal",
}


def kind(info: Any) -> Kind:
    """What it is in JSON; `any` where that is not known."""
    cls: type[Any] = info.__class__
    if isinstance(info, inspect.StructType):
        return "array" if info.array_like else "object"
    if isinstance(info, inspect.EnumType | inspect.LiteralType):
        found: set[Kind] = {_OF_VALUES.get(value.__class__, "any") for value in values(info)}
        return found.pop() if len(found) == 1 else "any"
    if isinstance(info, inspect.CustomType):
        return "object" if _is_object(info.cls) else "any"
    return _KINDS.get(cls, "any")


def alternatives(info: Any) -> list[Any]:
    """The members of a union, each of one kind."""
    if isinstance(info, inspect.Metadata):
        return alternatives(info.type)
    if isinstance(info, inspect.UnionType):
        return [each for member in info.types for each in alternatives(member)]
    if isinstance(info, inspect.LiteralType):
        kinds = dict.fromkeys(value.__class__ for value in info.values)
        of_kind = [tuple(v for v in info.values if v.__class__ is each) for each in kinds]
        return [inspect.LiteralType(some) for some in of_kind]
    return [info]


def values(info: Any) -> list[Any]:
    """All that an enum or a Literal can be, as JSON has it."""
    if isinstance(info, inspect.LiteralType):
        return list(info.values)
    return [each.value for each in info.cls]


def items(info: Any) -> Any:
    """The type of every item of an array, or a list with one per place."""
    if isinstance(info, inspect.TupleType):
        return list(info.item_types)
    if isinstance(info, inspect.NamedTupleType):
        return [field.type for field in info.fields]
    if isinstance(info, inspect.StructType):
        return inspect.AnyType()
    return info.item_type


def fewest(info: Any) -> int:
    """How many items of a fixed array there must be."""
    if isinstance(info, inspect.NamedTupleType):
        return sum(field.required for field in info.fields)
    return len(info.item_types)


def fields(info: Any) -> dict[str, inspect.Field]:
    """The fields of an object by their names in JSON."""
    return {field.encode_name: field for field in info.fields}


def tag(info: Any) -> tuple[str, Any] | None:
    """What tells a Struct from the others of its union."""
    return (info.tag_field, info.tag) if getattr(info, "tag", None) is not None else None


def named(info: Any) -> str:
    """A type as a message names it."""
    if isinstance(info, inspect.UnionType):
        return " | ".join(named(each) for each in info.types)
    if isinstance(info, inspect.Metadata):
        return named(info.type)
    if isinstance(info, inspect.LiteralType):
        return f"Literal[{', '.join(repr(value) for value in info.values)}]"
    if isinstance(info, inspect.DictType):
        return f"dict[{named(info.key_type)}, {named(info.value_type)}]"
    if kind(info) == "array" and not hasattr(info, "cls"):
        return _named_array(info)
    if hasattr(info, "cls"):
        return shown(info.cls)
    cls: type[Any] = info.__class__
    return _NAMES.get(cls, cls.__name__.removesuffix("Type").lower())


def _named_array(info: Any) -> str:
    if isinstance(info, inspect.TupleType):
        return f"tuple[{', '.join(named(each) for each in info.item_types)}]"
    if isinstance(info, inspect.VarTupleType):
        return f"tuple[{named(info.item_type)}, ...]"
    is_set = isinstance(info, inspect.SetType | inspect.FrozenSetType)
    return f"{'set' if is_set else 'list'}[{named(info.item_type)}]"


def _is_object(cls: Any) -> bool:
    """A model of pydantic that is an object in JSON, whatever its serializers do."""
    if not is_model(cls) or getattr(cls, "__pydantic_root_model__", False):
        return False
    decorators = cast("Any", getattr(cls, "__pydantic_decorators__", None))
    return decorators is not None and not decorators.model_serializers
