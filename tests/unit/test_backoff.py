"""Retry policies as values, and which of them counts after which error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import Backoff, DefinitionError, Flow, Machine, MachineContext, RetryAfter, Stop, job
from stepwell import Retry as Again
from stepwell import step as machine_step
from stepwell.compile.flows import compile_flow
from stepwell.compile.from_data import shape_from_data
from stepwell.define.backoff import NO_CAP
from stepwell.define.machine import machine_of
from stepwell.define.outcome import Completed, Failed
from stepwell.worker.failure import both, failed
from stepwell.worker.policy import UNSAID, Policy, policy_of


class Busy(Exception):
    pass


class VeryBusy(Busy):
    pass


def delays(backoff: Backoff, upto: int = 4) -> list[float]:
    return [backoff.delay(attempt) for attempt in range(1, upto + 1)]


def test_each_growth_counts_as_the_table_says() -> None:
    assert delays(Backoff.fixed(5)) == [5, 5, 5, 5]
    assert delays(Backoff.linear(5, max_delay=12)) == [5, 10, 12, 12]
    assert delays(Backoff.exponential(1)) == [2, 4, 8, 16]
    assert delays(Backoff.exponential(timedelta(minutes=1), max_delay=300)) == [120, 240, 300, 300]
    assert Backoff.exponential(2**31 - 1).delay(10_000) == NO_CAP
    half = Backoff.fixed(10, jitter=0.5)
    assert all(5 <= half.delay(1) <= 10 for _ in range(100))
    assert len({half.delay(1) for _ in range(100)}) > 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Backoff.fixed(-1), "Backoff.fixed: the delay is -1"),
        (lambda: Backoff.linear("5"), "the delay is '5'"),  # pyright: ignore[reportArgumentType]
        (lambda: Backoff.linear(5, max_delay=0), "max_delay is 0; it must be more than 0"),
        (lambda: Backoff.exponential(1, jitter=2), "Backoff.exponential: jitter is 2"),
        (lambda: Backoff("square", 1), "'square'; choose"),  # pyright: ignore[reportArgumentType]
        (lambda: Flow("a", backoff=Backoff.fixed(5), base_delay=3), "base_delay is said beside"),
        (lambda: Flow("a", backoff=Backoff.fixed(5), jitter=0.1), "jitter is said beside"),
        (lambda: job(backoff=Backoff.fixed(5), max_delay=7)(print), "max_delay is said beside"),
        (lambda: Flow("a", backoff={"Busy": Backoff.fixed(5)}), "'Busy' in it is no class"),  # pyright: ignore[reportArgumentType]
        (lambda: Flow("a", backoff={Busy: "fixed"}), "after Busy is 'fixed'; give a Backoff"),  # pyright: ignore[reportArgumentType]
        (lambda: Flow("a", backoff=5), "'exponential', or give a Backoff"),  # pyright: ignore[reportArgumentType]
        (lambda: Flow("a", no_retry=("Busy",)), "no_retry has 'Busy'; list classes"),  # pyright: ignore[reportArgumentType]
        (lambda: shape_from_data("a", [{"slug": "b"}], {"backoff": {Busy: 1}}), "from data has"),
        (lambda: shape_from_data("a", [{"slug": "b", "backoff": abs}], {}), "from data has"),
    ],
)
def test_what_can_be_no_policy(make: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        make()


def test_a_plain_policy_is_options_that_the_database_counts_with() -> None:
    flow = Flow("mail", backoff=Backoff.exponential(2, jitter=0.1), max_attempts=8)

    @flow.step(backoff=Backoff.fixed(timedelta(minutes=1)), no_retry=Busy)
    def send() -> None: ...

    shape = compile_flow(flow).to_data()
    said = {name: shape["options"][name] for name in ("backoff", "baseDelay", "maxDelay", "jitter")}
    assert said == {"backoff": "exponential", "baseDelay": 2, "maxDelay": None, "jitter": 0.1}
    assert shape["steps"][0]["options"] == {
        "backoff": "fixed",
        "baseDelay": 60,
        "maxDelay": 60,
        "jitter": 0.0,
    }
    assert policy_of(flow.options, send.options) == Policy(no_retry=(Busy,))


def test_parts_of_a_second_are_counted_by_the_worker() -> None:
    flow = Flow("mail", backoff=Backoff.linear(0.5))
    options = compile_flow(flow_with_a_step(flow)).options
    assert (options.backoff, options.base_delay) == ("custom", 1)
    assert judged(policy_of(flow.options), Busy()).delay == 0.5


def flow_with_a_step(flow: Flow[Any, Any]) -> Flow[Any, Any]:
    flow.step(slug="only")(lambda: None)
    return flow


def judged(policy: Policy, error: BaseException, attempt: int = 1) -> Failed:
    outcome = policy.judged(failed(error), attempt)
    assert isinstance(outcome, Failed)
    return outcome


def test_the_nearest_class_says_the_pause_and_the_step_goes_first() -> None:
    flow = Flow("mail", backoff={Exception: Backoff.fixed(1), OSError: lambda n: 10.0 * n})

    @flow.step(backoff={Busy: Backoff.fixed(60)})
    def some() -> None: ...

    @flow.step(backoff="linear", base_delay=3)
    def plain() -> None: ...

    by_step = policy_of(flow.options, some.options)
    assert judged(by_step, VeryBusy()).delay == 60
    assert judged(by_step, ConnectionError(), attempt=2).delay == 20
    assert judged(by_step, ValueError()).delay == 1
    assert judged(by_step, KeyboardInterrupt()).delay is None
    assert policy_of(flow.options, plain.options) is UNSAID
    assert compile_flow(flow).options.backoff == "exponential"


class Custom(Exception):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


class Nasty(Exception):
    @property
    def retry_after(self) -> float:
        raise SystemExit


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (RetryAfter(30), 30),
        (RetryAfter(timedelta(minutes=2), "the API is full"), 120),
        (Custom(1.5), 1.5),
        (Custom(0), 0),
        (Custom(None), 7),
        (Custom("soon"), 7),
        (Custom(float("inf")), 7),
        (Nasty(), 7),
    ],
)
def test_an_error_may_say_when(error: Exception, delay: float) -> None:
    assert judged(Policy(backoff=lambda _: 7), error).delay == delay


def test_retry_after_says_what_it_is() -> None:
    assert str(RetryAfter(30)) == "try again after 30"
    assert str(RetryAfter(30, "the API is full")) == "the API is full"


def test_what_no_retry_can_help_is_final_whatever_else_is_said() -> None:
    policy = Policy(no_retry=(Busy, TimeoutError), backoff=lambda _: 7)
    assert judged(policy, VeryBusy()).permanent
    assert not judged(policy, OSError()).permanent
    second = both(failed(OSError()), failed(Busy()), "on_error failed too")
    assert policy.judged(second, 1) != second
    done = Completed(b"1")
    assert policy.judged(done, 1) is done


def test_a_step_takes_back_what_its_definition_says() -> None:
    flow = Flow("mail", no_retry=(Busy, ValueError))

    @flow.step(no_retry=())
    def some() -> None: ...

    @flow.step
    def other() -> None: ...

    assert policy_of(flow.options, some.options) is UNSAID
    assert policy_of(flow.options, other.options).no_retry == (Busy, ValueError)


def test_a_machine_has_policies_too_and_hands_them_down() -> None:
    class Base(Machine, abstract=True, backoff=Backoff.linear(5), no_retry=ValueError):
        pass

    class Order(Base):
        @machine_step(initial=True, backoff={Busy: Backoff.fixed(60)}, no_retry=(KeyError,))
        def begin(self, ctx: MachineContext) -> Stop:
            return Stop("no")

    facts = machine_of(Order)
    options = facts.options
    assert (options.backoff, options.base_delay, options.max_delay) == ("linear", 5, None)
    policy = policy_of(options, facts.steps["begin"].options)
    assert policy.no_retry == (KeyError,)
    assert policy.timed(Again(), failed(Busy()), 1) == Again(60)
    assert policy.timed(Again(3), failed(Busy()), 1) == Again(3)
    assert policy.timed(Again(), failed(OSError()), 1) == Again()
