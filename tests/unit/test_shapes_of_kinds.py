"""Machines, jobs, and the waits of flows as data."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from stepwell import (
    ConcurrencyLimit,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    RateLimit,
    Stepwell,
    job,
    key_by,
    step,
)
from stepwell.compile.check import check_shape
from stepwell.compile.deploy import serves_version
from stepwell.compile.diff import differences
from stepwell.compile.flows import compile_flow
from stepwell.compile.jobs import compile_job
from stepwell.compile.machines import compile_machine
from stepwell.compile.shape import Shape
from stepwell.db.inspect import VersionRow
from stepwell.define.outcome import Transition
from stepwell.errors import DefinitionError

openai = RateLimit("openai", 60, per=60)
reports = ConcurrencyLimit("reports", 5)


class Checkout(
    Machine, version=4, queue="q", backoff=lambda attempt: attempt, concurrency=reports.by("order")
):
    order: int

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition:
        return Next(self.ship)

    @step(timeout=5, backoff="fixed", concurrency="one", rate_limit=openai.of("a", weight=2))
    def ship(self, ctx: MachineContext) -> Done:
        return Done()


@job(queue="mail", max_running=7, priority=-1, fairness_by="user.id", rate_limit=openai.by("user"))
def send(user: str) -> None: ...


def said(shape: Shape) -> Any:
    return json.loads(shape.to_json())


def test_a_machine_is_its_version_and_steps_that_say_all_their_options() -> None:
    data = said(compile_machine(Checkout))
    assert (data["slug"], data["kind"], data["version"]) == ("checkout", "machine", 4)
    assert data["options"]["backoff"] == "custom"
    assert data["options"]["queue"] == "q"
    assert [(s["slug"], s["initial"], s["stepType"]) for s in data["steps"]] == [
        ("start", True, "single"),
        ("ship", False, "single"),
    ]
    both = {"maxAttempts": 3, "baseDelay": 1, "maxDelay": 300, "jitter": 0.1, "priority": 0}
    assert [s["options"] for s in data["steps"]] == [
        {
            **both,
            "timeout": 60,
            "backoff": "custom",
            "concurrency": "limit/reports/",
            "concurrencyBy": ["order"],
        },
        {
            **both,
            "timeout": 5,
            "backoff": "fixed",
            "concurrency": "key/one",
            "rate": "openai/a",
            "weight": 2,
        },
    ]


def test_a_job_is_one_step() -> None:
    data = said(compile_job(send))
    assert (data["slug"], data["kind"], data["version"]) == ("send", "job", 1)
    assert data["options"] == {
        "maxAttempts": 20,
        "baseDelay": 1,
        "timeout": 60,
        "maxDelay": 300,
        "jitter": 0.1,
        "maxCrashes": 3,
        "queue": "mail",
        "backoff": "exponential",
        "maxRunning": 7,
        "priority": -1,
        "fairnessBy": ["user", "id"],
        "retention": None,
    }
    [only] = data["steps"]
    assert (only["slug"], only["initial"]) == ("perform", True)
    assert only["options"] == {"rate": "openai/", "rateBy": ["user"], "weight": 1}


def waiting(name: str = "approved", **options: Any) -> Flow:
    flow = Flow("orders", concurrency=key_by("order"), max_running=3)

    @flow.step
    def reserve(flow_input: dict[str, int]) -> None: ...

    flow.signal(name, slug="approval", after=reserve, timeout=1.5, **options)
    flow.sleep("cooling_off", timedelta(days=30), after=[reserve])

    @flow.step(concurrency="other")
    def ship(approval: str, cooling_off: None) -> None: ...

    return flow


def test_the_waits_of_a_flow_are_steps_without_a_limit() -> None:
    flow = waiting(if_exhausted="skip")
    [reserve, approval, cooling_off, ship] = said(compile_flow(flow))["steps"]
    assert reserve["options"] == {"concurrency": "key/", "concurrencyBy": ["order"]}
    assert (approval["stepType"], approval["signalName"]) == ("signal", "approved")
    assert approval["options"] == {"signalTimeout": 1.5}
    assert approval["whenExhausted"] == "skip"
    assert cooling_off["stepType"] == "sleep"
    assert cooling_off["options"] == {"startDelay": 30 * 86400}
    assert ship["dependencies"] == ["approval", "cooling_off"]
    assert ship["options"] == {"concurrency": "key/other"}
    assert "signalName" not in cooling_off


def test_the_name_of_a_signal_makes_another_version_and_its_timeout_does_not() -> None:
    one, other = compile_flow(waiting()), compile_flow(waiting("declined"))
    assert one.digest != other.digest
    assert differences(other, one) == ['step \'approval\': signal "approved" -> "declined"']


@pytest.mark.parametrize("shape", [compile_machine(Checkout), compile_job(send)])
def test_a_shape_of_any_kind_is_read_back_from_its_data(shape: Shape) -> None:
    assert Shape.from_data(said(shape)) == shape


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"stepType": "signal"}, "has no signalName"),
        ({"signalName": "a"}, "no signal step"),
        ({"stepType": "signal", "signalName": ""}, "must be a name"),
        ({"options": {"priority": 2**15}}, "priority is 32768"),
        ({"options": {"signalTimeout": -1}}, "timeout is -1"),
    ],
)
def test_a_wait_that_cannot_be(step: Any, words: str) -> None:
    shape = Shape.from_data({"slug": "orders", "steps": [{"slug": "a", **step}]})
    with pytest.raises(DefinitionError, match=f"flow 'orders', step 'a'.*{words}"):
        check_shape(shape)


def stored(kind: str, slug: str, version: int, *steps: str) -> VersionRow:
    return VersionRow(slug, 1, version, slug, kind, [{"slug": step} for step in steps])


@pytest.mark.parametrize(
    ("row", "served"),
    [
        (stored("machine", "checkout", 4, "start", "ship"), True),
        (stored("machine", "checkout", 4, "start"), True),
        (stored("machine", "checkout", 4, "start", "ship", "gone"), False),
        (stored("machine", "checkout", 3, "start"), False),
        (stored("machine", "other", 4), False),
        (stored("job", "send", 1, "perform"), True),
        (stored("job", "send", 2, "perform"), False),
        (stored("job", "checkout", 1, "perform"), False),
        (stored("flow", "send", 1), False),
        (stored("schedule", "send", 1), False),
    ],
)
def test_a_version_is_served_when_there_is_a_handler_for_each_step(
    row: VersionRow, served: bool
) -> None:
    assert (
        serves_version(
            Stepwell(machines=[Checkout], jobs=[send], limits=[openai, reports]).registry, row
        )
        is served
    )
