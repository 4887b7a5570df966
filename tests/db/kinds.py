"""Machines and jobs in as few words as a test can spend on them, and what their steps say."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from stepwell.db.claim import Task
from stepwell.db.commit import Entry

from .shapes import DEFAULTS, Shape


def machine(slug: str, *steps: str, version: int = 1, **options: Any) -> Shape:
    """The first step is the initial one."""
    return {
        "slug": slug,
        "kind": "machine",
        "version": version,
        "options": DEFAULTS | options,
        "steps": [
            {"slug": each, "initial": each == steps[0], "options": {}, "stepType": "single"}
            for each in steps
        ],
    }


def job(slug: str, **options: Any) -> Shape:
    return machine(slug, "perform", **options) | {"kind": "job"}


def says(task: Task, word: str, **move: Any) -> Entry:
    """An outcome of a machine or a job. `error` is what it failed with."""
    error = move.pop("error", None)
    if task.kind == "machine" and word not in ("failed", "failed_permanently"):
        move = {"state": json.loads(task.input or "null")} | move
    return Entry(
        task.message_id,
        task.claim_token,
        word,
        json.dumps(move) if move else None,
        error_type="ValueError" if error else None,
        error_message=error,
    )


def child(slug: str, input: Any = None, **options: Any) -> dict[str, Any]:
    """One child of a spawn. It ends with its parent unless told otherwise."""
    given: dict[str, Any] = {
        "id": str(uuid4()),
        "slug": slug,
        "input": input or {},
        "on_parent_end": "cancel",
    }
    return given | options


def id_of(child: dict[str, Any]) -> UUID:
    return UUID(child["id"])
