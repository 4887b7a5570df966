"""The SQL functions as a page: their signatures, and the comments that stand before them."""

from __future__ import annotations

import re
from pathlib import Path

SQL = Path(__file__).parents[1] / "src" / "stepwell" / "sql"
FUNCTION = re.compile(
    r"(?P<comment>(?:^--[^\n]*\n)*)^create or replace function (?P<name>(?:pgflow|pgmq)\.\w+)\s*"
    r"\((?P<arguments>.*?)\)\s*(?P<returns>returns\s.*?)?\s*\blanguage\b",
    re.M | re.S,
)


def page() -> str:
    """By file, as a newcomer reads them: what each is for, then its functions."""
    parts: list[str] = []
    for folder in ("functions", "pgmq"):
        for path in sorted((SQL / folder).glob("*.sql")):
            text = path.read_text()
            entries = [entry(found) for found in FUNCTION.finditer(text)]
            if entries:
                parts += [f"## {path.stem}", head(text), *entries]
    return "\n\n".join(filter(None, parts))


def head(text: str) -> str:
    """The comment that a file begins with."""
    found = re.match(r"(?:--[^\n]*\n)+", text)
    return sentences(found[0]) if found else ""


def entry(found: re.Match[str]) -> str:
    arguments = " ".join(re.sub(r"--[^\n]*", "", found["arguments"]).split())
    returns = " ".join((found["returns"] or "").split())
    call = f"{found['name']}({arguments})"
    said = sentences(found["comment"])
    text = f"```text\n{call}\n  {returns}\n```" if returns else f"```text\n{call}\n```"
    return f"{text}\n\n{said}".rstrip()


def sentences(comment: str) -> str:
    return "\n".join(line.removeprefix("--").strip() for line in comment.splitlines()).strip()
