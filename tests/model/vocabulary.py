"""The few JSON values that random flows speak, so that patterns often match."""

from __future__ import annotations

from .definition import Json

OBJECTS: list[Json] = [
    {},
    {"k": 1},
    {"k": True, "l": None},
    {"k": {"n": [1, 2]}, "l": ""},
    {"k": {}, "l": [{"n": 2, "m": 0}, [1]]},
]
ARRAYS: list[Json] = [[], [1], [None, 0], [{"k": 1}, [], ""], [[1, 2], False, "x", 5]]
SCALARS: list[Json] = [None, False, 0, "", True, 1, -1.5, 'é\n"\\']

# What a pattern asks of one value.
PARTS: list[Json] = [
    {},
    {"k": 1},
    {"l": None},
    {"k": {}},
    {"k": {"n": [1]}},
    {"l": [{"n": 2}]},
    [],
    [1],
    [None],
    [{}],
    None,
    "",
]
