"""What the annotation of a handler says about its result."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin

from stepwell.define.outcome import Cancel, Snooze, Spawn


def result_of(returns: Any) -> Any:
    """The annotation without the outcomes that are no result. Who starts children gets theirs."""
    if get_origin(returns) not in (UnionType, Union):
        return Any if returns in (Snooze, Cancel, Spawn) else returns
    members = get_args(returns)
    results = tuple(each for each in members if each not in (Snooze, Cancel))
    return Union[results] if results and Spawn not in members else Any  # noqa: UP007
