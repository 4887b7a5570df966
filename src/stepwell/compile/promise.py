"""Whether a flow can have the input and the output that `Flow[In, Out]` promises."""

from __future__ import annotations

from typing import Any, TypedDict, cast

from stepwell.define.annotations import shown
from stepwell.define.compatible import never_fits
from stepwell.define.fits import never_json
from stepwell.define.flow import Flow
from stepwell.errors import DefinitionError


def check_promise(flow: Flow[Any, Any]) -> None:
    """Refuse types that no JSON fits, and an `Out` that the outputs of the last steps, by slug, can
    never be read as."""
    promised = flow.output_type
    for part, kind in (("input", flow.input_type), ("output", promised)):
        if reason := never_json(kind):
            raise DefinitionError(
                f"flow {flow.slug!r}: its {part} is {shown(kind)}, and no JSON fits it: {reason}; "
                "change its annotation"
            )
    outputs = {slug: flow.steps[slug].output_type for slug in flow.leaves}
    if not outputs or promised is Any:
        return
    made = cast("Any", TypedDict)("Output", outputs)
    if misfit := never_fits(made, promised):
        leaves = ", ".join(f"{slug!r}: {shown(kind)}" for slug, kind in outputs.items())
        raise DefinitionError(
            f"flow {flow.slug!r}: it promises {shown(promised)}, but the output of a flow are the "
            f"outputs of the steps that nothing depends on, {{{leaves}}}, and {misfit}; write a "
            "TypedDict or dataclass with a field for each of them that you want"
        )
