"""How a handler by pattern runs: all of its steps, or some of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict, cast

from stepwell.define.choices import process_of, transactional_of
from stepwell.define.handler_parameters import Function
from stepwell.define.slug import STEP_RESERVED, check_slug, meant
from stepwell.errors import DefinitionError

Chosen = bool | frozenset[str]


class HandlerChoices(TypedDict, total=False):
    """The keyword arguments of `handler`: for all steps, or for those of these slugs."""

    transactional: bool | Collection[str]
    process: bool | Collection[str]


def chosen_of(name: str, choices: Mapping[str, Any], known: Iterable[str], what: str) -> Chosen:
    """What one of them says. `known` are the steps that there is a function for; where one function
    is for all, there are none, and any slug may be a step's."""
    said: object = choices.get(name, False)
    if isinstance(said, bool):
        return said
    if isinstance(said, str) or not isinstance(said, Collection):
        raise DefinitionError(
            f"{what}: {name} is {said!r}; it must be True or False, or list the steps"
        )
    known = list(known)
    slugs = cast("Collection[str]", said)
    for slug in slugs:
        check_slug(slug, f"{what}: {name}", STEP_RESERVED)
        if known and slug not in known:
            raise DefinitionError(
                f"{what}: {name} has {slug!r}, and there is no function for that step"
                f"{meant(slug, known)}"
            )
    return frozenset(slugs)


def is_chosen(chosen: Chosen, slug: str) -> bool:
    return chosen if isinstance(chosen, bool) else slug in chosen


def check_chosen(
    transactional: Chosen,
    process: Chosen,
    everywhere: Function | None,
    functions: Mapping[str, Function],
    what: str,
) -> None:
    """Refuse what a step could not say for itself."""
    places = {slug: (f"{what}, step {slug!r}", function) for slug, function in functions.items()}
    if everywhere is not None:
        named = {
            slug for each in (transactional, process) if not isinstance(each, bool) for slug in each
        }
        places = {slug: (what, everywhere) for slug in sorted(named) or [""]}
    for slug, (place, function) in places.items():
        choices = {
            "transactional": is_chosen(transactional, slug),
            "process": is_chosen(process, slug),
        }
        takes_context = any(p.source == "context" for p in function.parameters)
        transactional_of(choices, place, has_context=takes_context)
        process_of(choices, place)
