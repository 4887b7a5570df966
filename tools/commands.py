"""The command line as it shows itself: for each command how it is called, and its options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Literal, get_args, get_origin

from cyclopts import App
from cyclopts.validators import Number

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.main import make_app
from stepwell.cli.runs import Actor
from tools.parts import Parts, code, table

HEADS = ("argument or option", "default", "what it is")
SHARED = {  # told once, where their help is this one
    name: get_args(kind)[1].help
    for name, kind in {"--actor": Actor, "--dsn": Dsn, "--json": AsJson}.items()
}


def parts() -> Parts:
    """By command, and of the options that many have."""
    by_command = {
        f"stepwell {' '.join(chain)}": partial(described, chain, app)
        for chain, app in commands(make_app())
    }
    return {"options of many commands": shared, **by_command}


def commands(app: App, chain: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in app:
        if not name.startswith("-"):
            below = app[name]
            children = list(commands(below, (*chain, name)))
            yield from children or [((*chain, name), below)]


def arguments_of(app: Any) -> list[Any]:
    """What `--help` shows: cyclopts' own account of each argument and option."""
    if app.default_command is None:
        return []
    return [each for each in app.assemble_argument_collection(parse_docstring=False) if each.show]


def option_names(app: App) -> list[tuple[str, ...]]:
    return [tuple(each.names) for each in arguments_of(app)]


def shared() -> str:
    return table(HEADS[::2], ((code(name), says) for name, says in SHARED.items()))


def described(chain: tuple[str, ...], app: App) -> str:
    found = arguments_of(app)
    own = [each for each in found if not is_shared(each)]
    many = [each.names[0] for each in found if is_shared(each)]
    lines = [f"Usage: {code(usage(chain, found))}"]
    if own:
        lines.append(table(HEADS, (cells(each) for each in own)))
    if many:
        lines.append(f"{'Also' if own else 'Options'}: [{code(*many)}](#options-of-many-commands).")
    return "\n\n".join(lines)


def is_shared(argument: Any) -> bool:
    return SHARED.get(argument.names[0]) == argument.parameter.help


def usage(chain: Iterable[str], arguments: Iterable[Any]) -> str:
    words = ["stepwell", *chain]
    has_options = False
    for each in arguments:
        if not is_positional(each):
            has_options = True
            continue
        word = name_of(each) + ("…" if is_any_number(each) else "")
        words.append(word if each.required else f"[{word}]")
    return " ".join([*words, "[OPTIONS]"] if has_options else words)


def cells(argument: Any) -> tuple[str, str, str]:
    names = [name_of(argument)] if is_positional(argument) else argument.names
    return code(*names), default_of(argument), f"{argument.parameter.help}{bounds(argument)}"


def default_of(argument: Any) -> str:
    default = argument.field_info.default
    is_none = argument.required or default is None or default is False
    return "" if is_none or is_any_number(argument) else code(default)


def bounds(argument: Any) -> str:
    """What else restricts its value: the words there are, and the numbers that are allowed."""
    words = [
        w for kind in kinds(argument.hint) if get_origin(kind) is Literal for w in get_args(kind)
    ]
    are_said = all(word in argument.parameter.help for word in words)
    said = "" if are_said else f" One of {code(*words)}."
    for each in argument.parameter.validator:
        if isinstance(each, Number) and each.lte is not None:
            said += f" From {each.gte or 0:,} to {each.lte:,}."
        elif isinstance(each, Number):
            said += f" At least {each.gte:,}."
    return said


def kinds(hint: Any) -> Iterator[Any]:
    """The hint itself, and what a union, or a tuple of any length, is made of."""
    yield hint
    if get_origin(hint) is not Literal:
        for each in get_args(hint):
            yield from kinds(each)


def name_of(argument: Any) -> str:
    return argument.names[0].lstrip("-").upper()


def is_positional(argument: Any) -> bool:
    return argument.field_info.kind.name != "KEYWORD_ONLY"


def is_any_number(argument: Any) -> bool:
    return get_origin(argument.hint) is tuple
