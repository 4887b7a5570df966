"""What explain and doctor can say is on their page, and the page names nothing else."""

import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "how-to" / "find-out-why.md").read_text()
SQL = ROOT / "src" / "stepwell" / "sql" / "functions"
WORD = re.compile(r"`([a-z_]+)`")


def named_in(heading: str) -> set[str]:
    """The words in the first column of the table that begins with it."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return {word for row in table.splitlines()[2:] for word in WORD.findall(row.split("|")[1])}


def reasons() -> set[str]:
    text = "\n".join((SQL / name).read_text() for name in ("explain.sql", "explain_lanes.sql"))
    found = set(re.findall(r"reason := '(\w+)'|'(\w+)', '(?:stuck|waiting)'", text))
    chosen = re.findall(r"case[^;]*? end as reason|select coalesce\(v\.reason, case[^)]*", text)
    chosen += re.findall(
        r"select case when t\.taken >= t\.capacity then '\w+' else '\w+' end", text
    )
    words = {word for pair in found for word in pair if word}
    words |= {word for each in chosen for word in re.findall(r"(?:then|else) '(\w+)'", each)}
    return words - {"stuck", "_paused"}


def test_each_reason_of_explain_has_its_row() -> None:
    others = {"completed", "failed", "cancelled", "queue_paused", "flow_paused"}
    assert named_in("reason") == reasons() | others


def test_each_finding_of_doctor_has_its_row() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "src/stepwell/db").glob("doctor/*.py"))
    found = set(re.findall(r"(?:Finding|finding)\(\s*\"(\w+)\"", text))
    found |= set(re.findall(r"code = \"(\w+)\" if ahead else \"(\w+)\"", text)[0])
    found |= {"fsync_off", "full_page_writes_off"}
    lanes = (SQL / "explain_lanes.sql").read_text()
    found |= set(re.findall(r"reason := '(\w+)'", lanes))
    assert named_in("finding") == found
