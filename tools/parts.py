"""Parts of a page that are made from the code, between comments that the site does not show.

What stands around them is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

PART = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->)", re.S)

Parts = Mapping[str, Callable[[], str]]


def filled(text: str, parts: Parts) -> str:
    """The page with each of its parts made anew. It has all of them, once each."""
    named = [name for _, name, _, _ in PART.findall(text)]
    if sorted(named) != sorted(parts):
        wrong = sorted(set(named) ^ set(parts)) or sorted({n for n in named if named.count(n) > 1})
        raise ValueError(f"these parts are missing on the page, or not ours, or twice: {wrong}")
    return PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]()}\n\n{found[4]}", text)


def by_hand(text: str) -> str:
    """The page without its parts."""
    return PART.sub("", text)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as it is written in Markdown; a cell is one line."""
    lines = [row(heads), "|" + "---|" * len(heads), *(row(cells) for cells in rows)]
    return "\n".join(lines)


def row(cells: Sequence[str]) -> str:
    inner = " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return re.sub(r"\|  (?=\|)", "| ", f"| {inner} |")


def code(*words: object) -> str:
    return ", ".join(f"`{word}`" for word in words)
