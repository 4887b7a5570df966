"""The blocking client out of the other one: `python -m tools.sync` writes `client/sync_*.py`.

A file is turned token by token: `async` and `await` go, names that have a blocking twin become it.
What differs in more than words (waiting, events, connections) is written by hand in both forms.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path
from tokenize import TokenInfo

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "src/stepwell/client"
GENERATED = (
    *("enqueuing", "finding", "flows", "gathering", "messaging", "signalling", "starting"),
    "steering",
)
BY_HAND = ("run",)  # modules with a twin of the same form
CLASSES = ("Enqueuing", "Finding", "Flows", "Gathering", "Messaging", "Signalling", "Starting")
NAMES = {
    **{name: f"Sync{name}" for name in (*CLASSES, "Steering", "Run", "Session")},
    **{name: f"sync_{name}" for name in (*GENERATED, *BY_HAND)},
    "Theirs": "TheirsSync",
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Generator",
    "asyncio": "time",
    "soon": "wake",  # who blocks can wait for it
}
MADE = "# made by tools/sync.py out of {source}: change that, and run `python -m tools.sync`\n"

Edit = tuple[tuple[int, int], tuple[int, int], str]


def main() -> None:
    for name in GENERATED:
        twin_of(name).write_text(made(name))


def twin_of(name: str) -> Path:
    return CLIENT / f"sync_{name}.py"


def made(name: str) -> str:
    """The blocking form of a file, as the formatter likes it."""
    text = (CLIENT / f"{name}.py").read_text()
    head = MADE.format(source=f"{name}.py")
    return formatted(head + applied(text, edits_of(text)), twin_of(name))


def edits_of(text: str) -> Iterator[Edit]:
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for at, token in enumerate(tokens):
        if token.string in ("async", "await"):
            yield (token.start, tokens[at + 1].start, "")
        elif token.type == tokenize.NAME and is_name(tokens, at):
            yield (token.start, token.end, NAMES[token.string])
        elif token.type == tokenize.STRING and token.string.startswith('"""'):
            words = token.string.replace("`await ", "`").replace("For Client.", "For SyncClient.")
            yield (token.start, token.end, words)
        elif token.string == "(" and tokens[at + 1].string == "await" and not calls(tokens[at - 1]):
            end = closing(tokens, at)
            if tokens[end].start[0] == token.start[0]:  # they only kept the await together
                yield (token.start, token.end, "")
                yield (tokens[end].start, tokens[end].end, "")


def is_name(tokens: list[TokenInfo], at: int) -> bool:
    """Modules are meant in imports only: `client.signalling`, not a variable that is called so."""
    word = tokens[at].string
    if word in (*GENERATED, *BY_HAND):
        return [t.string for t in tokens[at - 4 : at]] == ["stepwell", ".", "client", "."]
    return word in NAMES


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
    for words in (["check", "--fix", "--select", "I,F401"], ["format"]):
        command = [sys.executable, "-m", "ruff", *words, "-q", "--stdin-filename", str(path), "-"]
        text = subprocess.run(
            command, cwd=ROOT, input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


if __name__ == "__main__":
    main()
