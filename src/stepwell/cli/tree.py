"""A run and its children as a tree: a line per step, and what runs in a map below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from stepwell.cli.picture import Picture
from stepwell.cli.show import headline
from stepwell.cli.steps import cells_of, element, log_text

AT_REST = ("completed", "skipped", "created")
MOST_ELEMENTS = 4  # of a map, below its line
MOST_LINES = 3  # of a log that is still written


def drawn(shown: Sequence[Picture], height: int | None = None) -> RenderableType:
    """Runs, one below the other; one that is drawn as a child of another is not drawn again. Where
    the screen is too low for all, steps at rest are counted, so that those that run are seen."""
    children: set[UUID] = {below for each in shown for below in descendants(each)}
    roots = [each for each in shown if each.run.id not in children]
    low = height is not None and sum(map(rows_of, roots)) > height
    return Group(*(part for each in roots for part in (*parts_of(each, low), "")))


def rows_of(shown: Picture) -> int:
    """About how many lines it takes."""
    elements = sum(min(len(shown.elements_of(step)), MOST_ELEMENTS + 1) for step in shown.steps)
    rows = 2 + len(shown.steps) + elements + (0 if shown.ended else MOST_LINES)
    return rows + sum(map(rows_of, shown.below))


def descendants(shown: Picture) -> set[UUID]:
    direct = {each.run.id for each in shown.below}
    return direct.union(*(descendants(each) for each in shown.below))


def parts_of(shown: Picture, low: bool) -> list[RenderableType]:
    alone = shown.run.kind == "job"
    lines = () if shown.ended else shown.lines[-MOST_LINES:]
    return [branch(shown, low), *(cut(log_text(line, alone=alone)) for line in lines)]


def branch(shown: Picture, low: bool) -> Tree:
    tree = Tree(headline(shown), guide_style="dim")
    steps = [step for step in shown.steps if not (low and step.status in AT_REST)]
    cells = [cells_of(step, shown) for step in steps]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    if len(steps) < len(shown.steps):
        tree.add(counted("steps", (s.status for s in shown.steps if s.status in AT_REST)))
    for step, row in zip(steps, cells, strict=True):
        place = tree.add(line_of(row, widths))
        running = shown.elements_of(step)
        for told in running[:MOST_ELEMENTS]:
            place.add(cut(element(told)))
        if len(running) > MOST_ELEMENTS:
            place.add(Text(f"and {len(running) - MOST_ELEMENTS} more", style="dim"))
    for below in shown.below:
        tree.children.append(branch(below, low))
    there = {below.run.id for below in shown.below}
    if others := [child.status for child in shown.children if child.run_id not in there]:
        tree.add(counted("children", others))
    return tree


def counted(what: str, states: Iterable[str]) -> Text:
    """Those that are not drawn."""
    said = ", ".join(f"{count} {status}" for status, count in sorted(Counter(states).items()))
    return Text(f"more {what}: {said}", style="dim")


def line_of(row: Sequence[Text], widths: Sequence[int]) -> Text:
    """The cells of a step below those of the others; columns that nobody needs are left out."""
    *first, result = row
    line = Text(no_wrap=True, overflow="ellipsis")
    for cell, wide in zip(first, widths, strict=False):
        if wide:
            line.append_text(cell).append(" " * (wide - width(cell) + 2))
    return line.append_text(result)


def width(cell: Text) -> int:
    return cell_len(cell.plain)


def cut(text: Text) -> Text:
    """On one line of the terminal."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return Text(" ").join(text.split("\n")) if "\n" in text.plain else text
