"""Whether any JSON fits an annotation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec
from msgspec import inspect

from stepwell.define.models import is_model, readable
from stepwell.define.payload import decoder
from stepwell.errors import PayloadError


def never_json(wanted: Any) -> str | None:
    """Why no JSON fits a type; None when some does, or when that is not known yet."""
    try:
        decoder(wanted)
        strange = next(_strange(inspect.type_info(readable(wanted)), set()), None)
    except PayloadError as error:
        return None if isinstance(error.__cause__, NameError) else str(error)
    except (TypeError, NameError, RecursionError):
        return None
    return None if strange is None else f"{strange.__qualname__} is a class of its own"


def _strange(info: Any, seen: set[int]) -> Iterator[type[Any]]:
    """Classes that nobody has JSON for, wherever they are in a type."""
    if isinstance(info, inspect.CustomType):
        if info.cls is not object and not is_model(info.cls):
            yield info.cls
    elif isinstance(info, msgspec.Struct) and id(info) not in seen:
        seen.add(id(info))
        for name in info.__struct_fields__:
            yield from _strange(getattr(info, name), seen)
    elif isinstance(info, tuple | list):
        for part in cast("Iterable[Any]", info):
            yield from _strange(part, seen)
