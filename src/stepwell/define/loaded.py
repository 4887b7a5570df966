"""A definition by the name of its module: "package.module:name"."""

from __future__ import annotations

from importlib import import_module

from stepwell.errors import InvalidDefinition


def loaded(definition: object) -> object:
    """What that text names; everything but text comes back as it is. InvalidDefinition
    (`not_loaded`) when the module cannot be imported, or has no such name."""
    if not isinstance(definition, str):
        return definition
    module, _, name = definition.partition(":")
    if not module or not name:
        raise InvalidDefinition(
            "not_loaded",
            f"{definition!r} names no definition; write 'package.module:name'",
            value=definition,
        )
    try:
        found: object = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # importing runs code of theirs
        said = f"{type(error).__name__}: {error}"
        raise InvalidDefinition(
            "not_loaded", f"{definition!r} could not be loaded ({said})", value=definition
        ) from error
    return found
