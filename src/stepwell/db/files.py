"""The files of SQL that come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

SQL = files("stepwell") / "sql"
TOUCHED = re.compile(r"(?:alter table|\bon) pgflow\.(\w+)")


@dataclass(frozen=True, slots=True)
class Script:
    """One file of SQL. A migration is applied once; a change of its text is refused."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def breaking(self) -> bool:
        """A migration that older code cannot live with says so in its first line."""
        return self.text.startswith("-- breaking")

    @property
    def concurrent(self) -> bool:
        """So does one whose statements run beside the work, each by itself (db/build.py)."""
        return self.text.startswith("-- concurrently")

    @property
    def plain(self) -> str:
        """The same for a transaction, where nobody uses the tables yet."""
        return self.text.replace(" index concurrently ", " index ")

    @property
    def code(self) -> str:
        return re.sub(r"--.*", "", self.text)

    @property
    def tables(self) -> set[str]:
        """Those whose locks it takes, if they are there before it."""
        return set(TOUCHED.findall(self.code))


def read_folder(folder: str) -> list[Script]:
    found = (f for f in (SQL / folder).iterdir() if f.name.endswith(".sql"))
    return [Script(f.name, f.read_text()) for f in sorted(found, key=lambda f: f.name)]
