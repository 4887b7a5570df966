"""What a migration may do, and how far a build is."""

from __future__ import annotations

import re

import pytest

from stepwell.db.build import step_of, steps_of
from stepwell.db.files import Script
from stepwell.db.migrate import migrations
from stepwell.db.progress import PARTS, percent, sentence

SMALL = frozenset(
    {"flows", "steps", "deps", "versions", "lanes", "limits", "schedules", "workers", "pruning"}
    | {"archiving", "payload_limits", "pauses", "buckets", "fair_queues", "listeners"}
)
NEWER = [script for script in migrations() if script.name > "0018"]
PLAIN = [script for script in NEWER if not script.concurrent]


@pytest.mark.parametrize("script", PLAIN, ids=lambda script: script.name)
def test_a_migration_holds_no_table_that_may_be_large_for_long(script: Script) -> None:
    """Its indexes, and checks of what is there, belong into one that runs beside the work."""
    made = set(re.findall(r"create table pgflow\.(\w+)", script.code))
    old = script.tables - made - SMALL
    for table in re.findall(r"create (?:unique )?index \w+ on pgflow\.(\w+)", script.code):
        assert table not in old, f"create index concurrently, in a migration of its own: {table}"
    for table, changes in re.findall(r"alter table pgflow\.(\w+)([^;]*);", script.code):
        if table in old:
            for slow in ("set not null", " type ", "validate", "unique", "primary key"):
                assert slow not in changes, f"{slow} reads or writes all of {table}"
            for word in ("check", "references"):
                assert changes.count(word) <= changes.count("not valid"), changes
            assert not re.search(r"default (?!null|true|false|'|-?\d)", changes), changes
    assert "drop index" not in script.code


@pytest.mark.parametrize(
    "script", [script for script in NEWER if script.concurrent], ids=lambda script: script.name
)
def test_what_runs_beside_the_work_can_be_gone_on_with(script: Script) -> None:
    assert steps_of(script)
    assert "concurrently" not in Script("", script.plain).code


def test_what_cannot_be_gone_on_with_is_refused() -> None:
    for statement in ("create index a on pgflow.runs (key)", "update pgflow.runs set key = ''"):
        with pytest.raises(AssertionError, match="cannot run beside the work"):
            step_of(statement)


def test_how_far_a_build_is() -> None:
    assert percent("initializing", 0, 0) == 0
    assert percent("building index: scanning table", 1, 2) == 22
    assert percent("index validation: scanning table", 10, 10) == 99
    bounds = [bound for part in PARTS.values() for bound in part]
    assert bounds == sorted(bounds)
    said = sentence("i", "t", "waiting for old snapshots", 0, 0, 0, 0, 7, "role r, report")
    assert said == "building index i: 99%, waits for process 7 (role r, report)"
    assert sentence("", "t", "building index: loading tuples in tree", 9, 9, 1, 2, 0, None) == (
        "building index of t: 50%"
    )
