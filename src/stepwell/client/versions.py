"""Which version each definition of this program has in the database, as far as one client knows."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from stepwell.client.definition import shape_of
from stepwell.db.call import Call
from stepwell.db.define import Ensured, ensure_flow
from stepwell.define.definition import Definition
from stepwell.define.flow import Flow


class Versions:
    """Filled by the first start of each definition."""

    def __init__(self) -> None:
        # a flow that grew a step since is another shape
        self._known: WeakKeyDictionary[Definition, tuple[int, int]] = WeakKeyDictionary()

    def of(self, definition: Definition | str) -> int | None:
        """None when it is not known, and for a name: that means the current version."""
        if isinstance(definition, str):
            return None
        steps, version_id = self._known.get(definition, (0, 0))
        return version_id if version_id and steps == size_of(definition) else None

    def ensure(self, definition: Definition) -> Call[Ensured]:
        """A client never moves the current version: deploying does."""
        return ensure_flow(shape_of(definition), make_current=False)

    def learn(self, definition: Definition, version_id: int) -> int:
        self._known[definition] = (size_of(definition), version_id)
        return version_id

    def forget(self, definition: Definition | str) -> None:
        if not isinstance(definition, str):
            self._known.pop(definition, None)


def size_of(definition: Definition) -> int:
    return len(definition.steps) if isinstance(definition, Flow) else 0
