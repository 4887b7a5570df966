"""Steer runs, queues and flows; read who did what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Steered:
    """`done` is False when there was nothing to do. `queues` are
    those to wake."""

    done: bool
    queues: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Restarted:
    """`created` is False when that run had been started before."""

    run_id: UUID
    created: bool
    queues: list[str]


@dataclass(frozen=True, slots=True)
class Labels:
    """What is said of a run."""

    tags: list[str]
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which target, and when."""

    id: int
    at: datetime
    actor: str
    action: str
    kind: str
    target: str
    run_id: UUID | None
    detail: dict[str, Any] | None


def cancel_run(run_id: UUID, reason: str | None = None, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.cancel_run(run_id => %s, reason => %s, actor => %s) as done,"
        " pgflow.ready_queues(run => %s) as queues",
        (run_id, reason, actor, run_id),
        Steered,
    )


def retry_run(run_id: UUID, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.retry_run(run_id => %s, actor => %s) as done,"
        " pgflow.ready_queues(run => %s) as queues",
        (run_id, actor, run_id),
        Steered,
    )


def pause_run(run_id: UUID, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.pause_run(run_id => %s, actor => %s) as done,"
        " pgflow.ready_queues(run => %s) as queues",
        (run_id, actor, run_id),
        Steered,
    )


def resume_run(run_id: UUID, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.resume_run(run_id => %s, actor => %s) as done,"
        " pgflow.ready_queues(run => %s) as queues",
        (run_id, actor, run_id),
        Steered,
    )


def pause_queue(name: str, actor: str | None = None, reason: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.pause_queue(name => %s, actor => %s, reason => %s) as done",
        (name, actor, reason),
        Steered,
    )


def resume_queue(name: str, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.resume_queue(name => %s, actor => %s) as done, array[%s] as queues",
        (name, actor, name),
        Steered,
    )


def pause_flow(slug: str, actor: str | None = None, reason: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.pause_flow(flow_slug => %s, actor => %s, reason => %s) as done",
        (slug, actor, reason),
        Steered,
    )


def resume_flow(slug: str, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.resume_flow(flow_slug => %s, actor => %s) as done,"
        " pgflow.lanes_of(flow_slug => %s) as queues",
        (slug, actor, slug),
        Steered,
    )


def restart_run(
    run_id: UUID,
    from_step: str | None = None,
    new_run_id: UUID | None = None,
    actor: str | None = None,
) -> Call[Restarted]:
    return Call(
        "select r.id as run_id, r.created, pgflow.ready_queues(run => r.id) as queues"
        " from pgflow.restart_run(run_id => %s, from_step => %s, new_run_id => %s, actor => %s) r",
        (run_id, from_step, new_run_id, actor),
        Restarted,
    )


def set_priority(run_id: UUID, priority: int, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.set_priority(run_id => %s, priority => %s, actor => %s) as done",
        (run_id, priority, actor),
        Steered,
    )


def label_run(
    run_id: UUID,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
    metadata: str = "{}",
    actor: str | None = None,
) -> Call[Labels]:
    """`metadata` is a JSON object, written into what the run has; a null takes a name away."""
    return Call(
        "select tags, metadata_now as metadata from pgflow.label_run(run_id => %s,"
        " add_tags => %s::text[], remove_tags => %s::text[], metadata => %s::text::jsonb,"
        " actor => %s)",
        (run_id, list(add_tags), list(remove_tags), metadata, actor),
        Labels,
    )


def delete_run(run_id: UUID, actor: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.delete_run(run_id => %s, actor => %s) as done",
        (run_id, actor),
        Steered,
    )


def audit_of(run_id: UUID | None = None, most: int = 100) -> Call[AuditEntry]:
    return Call(
        "select audit_id as id, at, actor, action, kind, target, run_id, detail"
        " from pgflow.list_audit(run => %s, most => %s)",
        (run_id, most),
        AuditEntry,
    )
