"""Which version each flow of this program has in the database, as far as one client knows."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from stepwell.compile.flows import compile_flow
from stepwell.db.call import Call
from stepwell.db.define import Ensured, ensure_flow
from stepwell.define.flow import Flow

AnyFlow = Flow[Any, Any]


class Versions:
    """Filled by the first start of each flow."""

    def __init__(self) -> None:
        # a flow that grew a step since is another shape
        self._known: WeakKeyDictionary[AnyFlow, tuple[int, int]] = WeakKeyDictionary()

    def of(self, flow: AnyFlow) -> int | None:
        steps, version_id = self._known.get(flow, (0, 0))
        return version_id if version_id and steps == len(flow.steps) else None

    def ensure(self, flow: AnyFlow) -> Call[Ensured]:
        """A client never moves a flow's current version: deploying does."""
        return ensure_flow(compile_flow(flow).to_json(), make_current=False)

    def learn(self, flow: AnyFlow, version_id: int) -> int:
        self._known[flow] = (len(flow.steps), version_id)
        return version_id

    def forget(self, flow: AnyFlow) -> None:
        self._known.pop(flow, None)
