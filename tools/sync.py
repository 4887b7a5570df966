"""The blocking client out of the other one: `python -m tools.sync` writes every file in a folder
`sync` that says so in its first line.

A file is turned token by token: `async` and `await` go, names that have a blocking twin become it,
and a statement with `# async only` behind its first line is left out. What differs in more than
words (waiting, reading events, connections, wake-ups) is written by hand in both forms.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from keyword import iskeyword
from pathlib import Path
from tokenize import TokenInfo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/stepwell"
GENERATED = (
    *("client/client", "client/enqueuing", "client/finding", "client/flows", "client/following"),
    *("client/gathering", "client/keeping", "client/messaging", "client/run", "client/schedules"),
    *("client/session", "client/settling", "client/signalling", "client/starting"),
    *("client/steering", "client/tailing", "db/repeating"),
    *("testing/asking", "testing/expect", "testing/picturing"),
)
BY_HAND = ("client/archiving", "client/feed", "client/stream", "client/waiter", "db/pool")
NAMES = {
    **{name: f"Sync{name}" for name in ("EventStream", "Feed", "Pool", "Waiter", "Wakes")},
    "Theirs": "TheirsSync",
    "on_theirs": "on_theirs_sync",
    "together": "together_sync",
    "AsyncConnection": "Connection",
    "AbstractAsyncContextManager": "AbstractContextManager",
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Generator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "asyncio": "time",
    "on": "on_sync",  # of a call
    "soon": "wake",  # who blocks can wait for it
}
PROSE = {"`await ": "`", "`async with`": "`with`", "For Client.": "For SyncClient."}
ONLY = "# async only"
MADE = "# made by tools/sync.py out of {source}: change that, and run `python -m tools.sync`\n"

Edit = tuple[tuple[int, int], tuple[int, int], str]


def main() -> None:
    for name in GENERATED:
        twin_of(name).write_text(made(name))


def twin_of(name: str) -> Path:
    folder, _, module = name.partition("/")
    return PACKAGE / folder / "sync" / f"{module}.py"


def made(name: str) -> str:
    """The blocking form of a file, as the formatter likes it."""
    source = source_of(name)
    text = source.read_text()
    head = MADE.format(source=f"{name}.py")
    return formatted(head + applied(text, edits_of(text)), twin_of(name))


def source_of(name: str) -> Path:
    return PACKAGE / f"{name}.py"


@cache
def names() -> dict[str, str]:
    """What becomes another name: every class of a generated file, too."""
    trees = [ast.parse(source_of(name).read_text()) for name in GENERATED]
    classes = [each.name for tree in trees for each in tree.body if isinstance(each, ast.ClassDef)]
    return NAMES | {name: f"Sync{name}" for name in classes}


def edits_of(text: str) -> Iterator[Edit]:
    left_out = list(only_async(text))
    for first, last in left_out:
        yield ((first, 0), (last + 1, 0), "")
    for edit in words_of(text):
        if not any(first <= edit[0][0] <= last for first, last in left_out):
            yield edit


def only_async(text: str) -> Iterator[tuple[int, int]]:
    """The first and the last line of each statement that is left out."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and lines[node.lineno - 1].endswith(ONLY):
            decorators = getattr(node, "decorator_list", [])
            first = min(each.lineno for each in (node, *decorators))
            yield first, node.end_lineno or first


def words_of(text: str) -> Iterator[Edit]:
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for at, token in enumerate(tokens):
        if token.string in ("async", "await"):
            yield (token.start, tokens[at + 1].start, "")
        elif token.type == tokenize.NAME and (word := twin_word(tokens, at)):
            yield (token.start, token.end, word)
        elif token.type == tokenize.STRING and token.string.startswith('"""'):
            yield (token.start, token.end, prose(token.string))
        elif token.string == "(" and tokens[at + 1].string == "await" and not calls(tokens[at - 1]):
            end = closing(tokens, at)
            if tokens[end].start[0] == token.start[0]:  # they only kept the await together
                yield (token.start, token.end, "")
                yield (tokens[end].start, tokens[end].end, "")


def twin_word(tokens: list[TokenInfo], at: int) -> str | None:
    """Modules are meant in imports only: `client.signalling`, not a variable that is called so."""
    word = tokens[at].string
    match [token.string for token in tokens[max(at - 4, 0) : at]]:
        case ["stepwell", ".", folder, "."] if f"{folder}/{word}" in (*GENERATED, *BY_HAND):
            return f"sync.{word}"
        case _:
            return names().get(word)


def prose(text: str) -> str:
    for theirs, ours in PROSE.items():
        text = text.replace(theirs, ours)
    return re.sub(r"\bClient\(", "SyncClient(", text)


def calls(before: TokenInfo) -> bool:
    """Whether a parenthesis behind this token begins the arguments of a call."""
    is_word = before.type == tokenize.NAME and not iskeyword(before.string)
    return is_word or before.string in (")", "]")


def closing(tokens: list[TokenInfo], at: int) -> int:
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place].string == "(") - (tokens[place].string == ")")
        if depth == 0:
            return place
    raise AssertionError


def applied(text: str, edits: Iterator[Edit]) -> str:
    lines = text.splitlines(keepends=True)
    for (row, column), (end_row, end_column), new in sorted(edits, reverse=True):
        kept = lines[row - 1][:column] + new + lines[end_row - 1][end_column:]
        lines[row - 1 : end_row] = [kept]
    return "".join(lines)


def formatted(text: str, path: Path) -> str:
    for words in (["check", "--fix", "--unsafe-fixes", "--select", "I,F401,UP028"], ["format"]):
        command = [sys.executable, "-m", "ruff", *words, "-q", "--stdin-filename", str(path), "-"]
        text = subprocess.run(
            command, cwd=ROOT, input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


if __name__ == "__main__":
    main()
