"""OpenTelemetry: a start is a span, and the attempts of its run are spans below it, in any process.

Spans are made where the program has set up a tracer provider. Nothing of OpenTelemetry is imported
before the program has done so itself; without it a start or an attempt costs a look into a dict.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

LONGEST = 8192  # characters of a trace's JSON; longer ones travel without their baggage
LONGEST_MESSAGE = 500
W3C = ("traceparent", "tracestate")
Carrier = dict[str, str]

_carrier = msgspec.json.Decoder(dict[str, Any])


class Sending:
    """The span of a start, or of a send. `trace` is what its runs take along, as JSON."""

    def __init__(self, trace: str | None = None, span: Span | None = None) -> None:
        self.trace = trace
        self._span = span

    def headed(self, headers: Sequence[object] | None, count: int) -> Sequence[object] | None:
        """The headers of so many messages, with the trace beside what is in them."""
        if self.trace is None:
            return headers
        trace: Carrier = _carrier.decode(self.trace)
        return [_beside(trace, each) for each in headers or [None] * count]

    def answered(self, run_ids: Sequence[UUID]) -> None:
        """Which runs it has started, or found by their key."""
        if self._span is not None and len(run_ids) == 1:
            self._span.set_attributes(
                {"stepwell.run_id": str(run_ids[0]), "messaging.message.id": str(run_ids[0])}
            )


class Attempt:
    """The span of one attempt, of a task or a message."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span
        self.over = False

    def __bool__(self) -> bool:
        return self._span is not None

    def ended(self, outcome: str, **facts: str | bool | float) -> None:
        """How it ended; one that never says so was cut off."""
        self.over = True
        if self._span is not None:
            self._span.set_attribute("stepwell.outcome", outcome)
            self._span.set_attributes({f"stepwell.{name}": value for name, value in facts.items()})

    def raised(self, error_type: str, message: str, traceback: str | None) -> None:
        """The error that was recorded of it."""
        if self._span is None:
            return
        api = sys.modules["opentelemetry.trace"]
        said = {"exception.type": error_type, "exception.message": message}
        self._span.add_event("exception", said | {"exception.stacktrace": traceback or ""})
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(api.StatusCode.ERROR, f"{error_type}: {message[:LONGEST_MESSAGE]}")


_nothing_sent = nullcontext(Sending())
UNTRACED = nullcontext(Attempt())


class Traces:
    """The spans of one client or worker. Mode `off`: there are none, whatever the program has."""

    def __init__(self, mode: str = "auto") -> None:
        self._off = mode == "off"
        self._known: tuple[object, Tracer | None] = (None, None)

    @property
    def on(self) -> bool:
        return self._tracer() is not None

    def starting(self, flows: Sequence[str], count: int) -> AbstractContextManager[Sending]:
        """The span of a start of so many runs."""
        slug = flows[0] if len(flows) == 1 else "several"
        tracer = self._tracer()
        return _nothing_sent if tracer is None else _sending(tracer, "start", slug, count)

    def sending(self, queue: str, count: int) -> AbstractContextManager[Sending]:
        """The span of a send of so many messages."""
        tracer = self._tracer()
        return _nothing_sent if tracer is None else _sending(tracer, "send", queue, count)

    def attempt(
        self, run_id: UUID, name: str, facts: Mapping[str, str | int], trace: str | None
    ) -> AbstractContextManager[Attempt]:
        """The span of an attempt, current while its block runs: below the span that started the
        run. A run that nobody traced has a trace of its own, which all of its attempts find."""
        tracer = self._tracer()
        if tracer is None:
            return UNTRACED
        parent = _extracted(trace) or _own(run_id, name, tracer)
        return _attempt(tracer, name, facts, parent)

    def message(
        self, name: str, facts: Mapping[str, str | int], headers: str | None
    ) -> AbstractContextManager[Attempt]:
        """The span of a try to handle a message; its headers, which are JSON, may name the
        trace."""
        tracer = self._tracer()
        if tracer is None:
            return UNTRACED
        return _attempt(tracer, name, facts, _extracted(headers))

    def _tracer(self) -> Tracer | None:
        api = sys.modules.get("opentelemetry.trace")
        if api is None or self._off or not hasattr(api, "ProxyTracerProvider"):  # half imported
            return None
        provider = api.get_tracer_provider()
        if self._known[0] is not provider:
            ours = None if isinstance(provider, api.ProxyTracerProvider) else provider
            self._known = (provider, ours and ours.get_tracer("stepwell"))
        return self._known[1]


def current_ids() -> dict[str, str]:
    """The trace and the span that the caller is in, as logs name them; empty outside of any."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    here = api.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    return {"trace_id": f"{here.trace_id:032x}", "span_id": f"{here.span_id:016x}"}


def carried() -> str | None:
    """What another process needs to go on in the caller's span, as JSON; None outside of any."""
    return _written(_injected()) if current_ids() else None


@contextmanager
def resumed(trace: str | None) -> Generator[None]:
    """Go on, in another process, where `carried` was called."""
    context = _extracted(trace) if "opentelemetry.trace" in sys.modules else None
    if context is None:
        yield
        return
    api = import_module("opentelemetry.context")
    token = api.attach(context)
    try:
        yield
    finally:
        api.detach(token)


def _beside(trace: Carrier, headers: object) -> object:
    """Headers that are no object stay as they are."""
    if headers is None:
        return trace
    if isinstance(headers, dict):
        return {**trace, **cast("Mapping[str, Any]", headers)}
    return headers


@contextmanager
def _sending(tracer: Tracer, verb: str, to: str, count: int) -> Generator[Sending]:
    api = sys.modules["opentelemetry.trace"]
    attributes: dict[str, Any] = {
        "messaging.system": "stepwell",
        "messaging.operation.name": verb,
        "messaging.operation.type": "send",
        "messaging.destination.name": to,
        f"stepwell.{'flow' if verb == 'start' else 'queue'}": to,
    }
    if count != 1:
        attributes["messaging.batch.message_count"] = count
    with tracer.start_as_current_span(
        f"{verb} {to}", kind=api.SpanKind.PRODUCER, attributes=attributes
    ) as span:
        yield Sending(_written(_injected()), span)


@contextmanager
def _attempt(
    tracer: Tracer, name: str, facts: Mapping[str, str | int], parent: Context | None
) -> Generator[Attempt]:
    api = sys.modules["opentelemetry.trace"]
    attributes: dict[str, Any] = {
        "messaging.system": "stepwell",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": facts.get("flow") or facts.get("queue") or "",
        **{f"stepwell.{fact}": value for fact, value in facts.items()},
    }
    context = import_module("opentelemetry.context")
    parent = context.Context() if parent is None else parent
    span = tracer.start_span(name, parent, api.SpanKind.CONSUMER, attributes)
    token = context.attach(api.set_span_in_context(span, parent))
    attempt = Attempt(span)
    try:
        yield attempt
    finally:
        if not attempt.over:
            attempt.ended("cut off")
        context.detach(token)
        span.end()


def _own(run_id: UUID, name: str, tracer: Tracer) -> Context:
    """The trace of a run whose start nobody traced: the same in every process, made of its id.
    Whether it is sampled is what the sampler says of a trace that begins."""
    api = sys.modules["opentelemetry.trace"]
    nowhere = import_module("opentelemetry.context").Context()
    trace_id = _hashed(run_id, 16)
    sampled = True
    with suppress(Exception):  # only the SDK's tracers have one
        sampler: Any = vars(tracer)["sampler"]
        sampled = sampler.should_sample(nowhere, trace_id, name).decision.is_sampled()
    flags = api.TraceFlags(api.TraceFlags.SAMPLED if sampled else api.TraceFlags.DEFAULT)
    beginning = api.SpanContext(trace_id, _hashed(run_id, 8), is_remote=True, trace_flags=flags)
    return api.set_span_in_context(api.NonRecordingSpan(beginning), nowhere)


def _hashed(run_id: UUID, size: int) -> int:
    return int.from_bytes(blake2b(run_id.bytes, digest_size=size).digest()) or 1


def _injected() -> Carrier:
    """The caller's context, in the words of the program's propagators. One that fails harms no
    start."""
    carrier: Carrier = {}
    with suppress(Exception):
        import_module("opentelemetry.propagate").inject(carrier)
    return carrier


def _written(carrier: Carrier) -> str | None:
    """As JSON; without its baggage where that is too much to keep."""
    text = msgspec.json.encode(carrier).decode()
    if len(text) > LONGEST:
        carrier = {name: carrier[name] for name in W3C if name in carrier}
        text = msgspec.json.encode(carrier).decode()
    return text if carrier and len(text) <= LONGEST else None


def _extracted(trace: str | None) -> Context | None:
    """None: there is no trace in it. Whoever starts runs with SQL may have written anything."""
    try:
        carrier = {} if trace is None else _carrier.decode(trace)
    except (msgspec.MsgspecError, RecursionError):
        return None
    words = {name.lower(): value for name, value in carrier.items() if isinstance(value, str)}
    return _context_of(words) if words else None


def _context_of(carrier: Carrier) -> Context | None:
    """The context that a carrier tells of; None: no trace."""
    nowhere = import_module("opentelemetry.context").Context()
    with suppress(Exception):  # of a propagator: it harms no attempt
        context: Context = import_module("opentelemetry.propagate").extract(carrier, nowhere)
        here = sys.modules["opentelemetry.trace"].get_current_span(context).get_span_context()
        return context if here.is_valid else None
    return None
