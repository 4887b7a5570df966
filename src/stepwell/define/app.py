"""An app is a list of definitions: what `stepwell worker module:app` serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.define.flow import Flow
from stepwell.define.registry import Registry


class Stepwell:
    """The definitions of one program. It holds no connection, and making one opens nothing.

    >>> app = Stepwell(flows=[Flow("orders")], name="shop")
    >>> [flow.slug for flow in app.flows]
    ['orders']
    """

    __slots__ = ("_name", "_registry")

    def __init__(self, *, flows: Iterable[Flow[Any, Any]] = (), name: str | None = None) -> None:
        self._registry = Registry(flows)
        self._name = name

    def __repr__(self) -> str:
        return f"<Stepwell {self._name or ''}: {', '.join(self._registry.flows) or 'no flows'}>"

    @property
    def name(self) -> str | None:
        return self._name

    @property
    def registry(self) -> Registry:
        """The definitions by slug."""
        return self._registry

    @property
    def flows(self) -> tuple[Flow[Any, Any], ...]:
        return tuple(self._registry.flows.values())
