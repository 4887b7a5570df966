"""`stepwell db`: the embedded Postgres by hand."""

from __future__ import annotations

from dataclasses import asdict

from cyclopts import App

from stepwell.cli.database import AsJson
from stepwell.cli.exits import Exit
from stepwell.cli.output import note, print_json
from stepwell.dev.postgres import EmbeddedPostgres, Status

db = App(name="db", help="The embedded Postgres: start, stop, url, status.")


@db.command
def start(*, json: AsJson = False) -> int:
    """Start the embedded Postgres and leave it running until `stepwell db stop`."""
    embedded = EmbeddedPostgres()
    embedded.start(keep=True)
    embedded.release()
    if json:
        print_json(as_data(embedded.status()))
    else:
        note(f"Postgres runs until `stepwell db stop`; its data is in {embedded.home}")
        print(embedded.dsn())
    return Exit.OK


@db.command
def stop(*, json: AsJson = False) -> int:
    """Stop the embedded Postgres, for everybody. Its data stays."""
    embedded = EmbeddedPostgres()
    was_running = embedded.status().running
    embedded.stop()
    if json:
        print_json({**as_data(embedded.status()), "was_running": was_running})
    else:
        print("stopped" if was_running else "it was not running")
    return Exit.OK


@db.command
def url() -> int:
    """Print the address of the embedded Postgres: export DATABASE_URL=$(stepwell db url)."""
    found = EmbeddedPostgres().status()
    print(found.dsn)
    if not found.running:
        note("it is not running: stepwell db start", style="yellow")
    return Exit.OK


@db.command
def status(*, json: AsJson = False) -> int:
    """Say whether the embedded Postgres runs, and where. Exit code 1 when it does not."""
    found = EmbeddedPostgres().status()
    if json:
        print_json(as_data(found))
    else:
        print(in_words(found))
        print(f"data: {found.home}")
        print(f"url:  {found.dsn}")
    return Exit.OK if found.running else Exit.FAILED


def in_words(found: Status) -> str:
    if not found.running:
        return "not running (start it: stepwell db start)"
    until = "until `stepwell db stop`" if found.kept else "as long as somebody uses it"
    return f"running: Postgres {found.major}, process {found.pid}, {until}"


def as_data(found: Status) -> dict[str, object]:
    return {**asdict(found), "home": str(found.home)}
