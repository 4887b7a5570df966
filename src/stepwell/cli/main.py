"""`stepwell`: finds the command, runs it, and turns errors into lines and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from stepwell.cli.exits import MEANING, Exit, exit_of, message_of
from stepwell.cli.output import complain

# each is imported when it is called, so that --help stays fast
COMMANDS = {
    "init": ("stepwell.cli.init:init", "Make a project that runs."),
    "dev": ("stepwell.cli.dev:dev", "Postgres, schema and a worker in one terminal."),
    "demo": ("stepwell.cli.demo:demo", "See a flow run, here and now."),
    "worker": ("stepwell.cli.worker:worker", "Run an app's tasks until stopped."),
    "migrate": ("stepwell.cli.migrate:migrate", "Bring the database's schema up to date."),
    "compile": ("stepwell.cli.compile:compile", "Write a definition as a SQL migration."),
    "deploy": ("stepwell.cli.deploy:deploy", "Make the database know an app, version by version."),
    "check-deploy": (
        "stepwell.cli.check_deploy:check_deploy",
        "List live runs that this code could not finish.",
    ),
    "start": ("stepwell.cli.start:start", "Start a run."),
    "enqueue": ("stepwell.cli.start:enqueue", "Have a job done."),
    "signal": ("stepwell.cli.signal:signal", "Leave a signal for a run."),
    "runs": ("stepwell.cli.runs:runs", "List, show and steer runs."),
    "queues": (
        "stepwell.cli.messages:queues",
        "List, pause and resume queues; send messages, and look after dead letters.",
    ),
    "flows": (
        "stepwell.cli.flows:flows",
        "List, pause and resume flows, machines and jobs; make flows from data, and delete them.",
    ),
    "workers": ("stepwell.cli.workers:workers", "List workers, and tell them to go."),
    "doctor": (
        "stepwell.cli.doctor:doctor",
        "Say what is wrong with a database, and what helps.",
    ),
    "prune": ("stepwell.cli.prune:prune", "Forget runs that ended long ago."),
    "audit": ("stepwell.cli.audit:audit", "List what was done by hand."),
    "schedules": (
        "stepwell.cli.schedules:schedules",
        "List, show, pause, resume and trigger schedules.",
    ),
    "bench": ("stepwell.cli.bench:bench", "Measure what the engine does on this server."),
    "completion": (
        "stepwell.cli.completion:completion",
        "Print what makes a shell complete commands.",
    ),
    "db": ("stepwell.cli.db:db", "The embedded Postgres: start, stop, reset, url, status; psql."),
}


def make_app() -> App:
    """All commands, each with its line in the list."""
    app = App(
        name="stepwell",
        help="Durable workflows for Python that need nothing but Postgres.",
        help_epilogue=MEANING,
        help_format="plaintext",  # markdown would cost a third of a second
        version=lambda: version("stepwell"),
        default_parameter=Parameter(show_default=default_of),
    )
    for order, (name, (path, help)) in enumerate(COMMANDS.items()):
        app.command(path, name=name, help=help, sort_key=order)
    app["--help"].group = app["--version"].group = "Options"
    return app


def default_of(value: Any) -> str | None:
    """What --help says of an option that is left out; nothing of what is off or empty then."""
    return None if value is None or value is False or value == () else str(value)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and answer its exit code. Errors of known kinds are printed."""
    app = make_app()
    app.suppress_keyboard_interrupt = False
    try:
        if not {"--help", "-h"}.isdisjoint(arguments):
            explain(app, arguments)
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        complain(f"{said(error)}\nSee {usage_of(app, arguments)} --help")
        return Exit.USAGE
    except BrokenPipeError:  # `stepwell runs list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except (Exception, KeyboardInterrupt) as error:
        code = exit_of(error)
        if code is None:
            raise
        if code is not Exit.INTERRUPTED:
            complain(message_of(error))
        return code
    return result if isinstance(result, int) else Exit.OK


def explain(app: App, arguments: Sequence[str]) -> None:
    """Of a command that is asked for help show all of its docstring, not its line in the list."""
    words = [each for each in arguments if not each.startswith("-")]
    chosen = app.parse_commands(words)[1][-1]
    if chosen.default_command is not None:
        chosen.help = None


def said(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        left = ", ".join(map(repr, error.unused_tokens or ()))
        return f"{left} is too much: is an option misspelt, or a text with spaces not in quotes?"
    return str(error)


def usage_of(app: App, arguments: Sequence[str]) -> str:
    """The command as far as it was understood."""
    commands, _, _ = app.parse_commands(list(arguments))
    return " ".join(["stepwell", *commands])


def main() -> None:
    sys.exit(int(run(sys.argv[1:])))
