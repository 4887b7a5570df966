"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference"
DECISIONS = ROOT / "docs" / "decisions"
FENCE = re.compile(r"^```(\S*)[ ]*(.*)$")
FRAGMENT = "fragment"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `marks` is what follows the language: `fragment`, or `raises=SomeError`."""

    page: Path
    line: int
    language: str
    marks: str
    text: str

    @property
    def raises(self) -> str | None:
        return self.marks.removeprefix("raises=") if self.marks.startswith("raises=") else None

    @property
    def is_fragment(self) -> bool:
        return self.marks == FRAGMENT


def all_pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path, *languages: str) -> list[Block]:
    return [block for block in fenced(page) if not languages or block.language in languages]


def pages_with(*languages: str) -> list[Path]:
    return [page for page in all_pages() if blocks_of(page, *languages)]


def fenced(page: Path) -> Iterator[Block]:
    inside: tuple[int, str, str] | None = None
    text: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and inside is None:
            inside, text = (number, fence[1], fence[2].strip()), []
        elif fence and inside:
            yield Block(page, *inside, "\n".join(text) + "\n")
            inside = None
        else:
            text.append(line)
    assert inside is None, f"{name_of(page)}: the block of line {inside} never ends"


def prose_of(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """Lines of shell blocks and of indented blocks, and what `$(...)` in them runs."""
    lines = [line for block in blocks_of(page, "sh", "ini") for line in block.text.splitlines()]
    lines += [line[4:] for line in prose_of(page).splitlines() if line.startswith("    ")]
    return [*lines, *(inner for line in lines for inner in re.findall(r"\$\((.*?)\)", line))]


def commands_of(page: Path) -> list[list[str]]:
    """The words after `stepwell` of every command line on the page."""
    return [words for line in shell_lines(page) if (words := command_in(line)) is not None]


def command_in(line: str) -> list[str] | None:
    if "stepwell " not in line:
        return None
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe
        return None
    starts = [
        at for at, word in enumerate(words) if re.fullmatch(r"(ExecStart=.*/)?stepwell", word)
    ]
    if not starts or not all(is_before_command(word) for word in words[: starts[0]]):
        return None
    rest = words[starts[0] + 1 :]
    ends = [at for at, word in enumerate(rest) if word in ("|", "&&", ";", ">", "&")]
    return rest[: ends[0]] if ends else rest


def is_before_command(word: str) -> bool:
    return word in ("python3", "run.py", "exec", "&&") or bool(re.fullmatch(r"[A-Z_]+=.*", word))


def commands_in_prose(page: Path) -> list[list[str]]:
    """Commands in backticks, which may leave out what a whole command needs."""
    spans = re.findall(r"`(?:python3 run\.py )?stepwell ([a-z][^`\n]*)`", prose_of(page))
    return [shlex.split(span) for span in spans]
