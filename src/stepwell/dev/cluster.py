"""The data directory: made once and all at once, named after its major version."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from stepwell.dev.owner import Owner, own_name
from stepwell.dev.programs import Programs
from stepwell.errors import EmbeddedError

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "logging_collector": "off",
}


def existing_major(home: Path) -> int | None:
    """The version of the data in this home; a home holds one."""
    for version in sorted(home.glob("data-*/PG_VERSION")):
        found = version.read_text().strip()
        if version.parent.name != f"data-{found}":
            raise EmbeddedError(f"{version.parent} holds data of Postgres {found}: move it away")
        return int(found)
    return None


def create(data: Path, owner: Owner, programs: Programs, *, sync: bool) -> None:
    """Make the data directory beside its place and then move it there: it is never half-made."""
    part = data.with_name("part-" + data.name)
    shutil.rmtree(part, ignore_errors=True)
    owner.make_private(part)
    command = [
        *(programs["initdb"], "-D", part, "-U", "postgres", "-E", "UTF8"),
        *("--auth-local=peer", "--auth-host=reject", "--data-checksums"),
        *_locale(programs.major),
        *([] if sync else ["--no-sync"]),
    ]
    code, output = owner.run(*command)
    if code != 0:
        raise EmbeddedError(f"initdb ended with {code}: {output[-2000:]}")
    users = sorted({own_name(), owner.name})
    (part / "pg_hba.conf").write_text("local all all peer map=stepwell\n")
    (part / "pg_ident.conf").write_text("".join(f"stepwell {user} postgres\n" for user in users))
    with open(part / "postgresql.conf", "a") as file:
        file.write("include_if_exists = 'stepwell.conf'\n")
    part.rename(data)


def configure(data: Path, socket: Path, settings: Mapping[str, str]) -> None:
    """Write our settings anew; they hold from the next start of the server."""
    values = {**_SETTINGS, "unix_socket_directories": f'"{socket}"', **settings}
    lines = [f"{name} = '{_quoted(value)}'\n" for name, value in values.items()]
    path = data / "stepwell.conf"
    path.write_text("".join(lines))
    path.chmod(0o644)  # inside a private directory, and the owner must read it


def _locale(major: int) -> list[str]:
    """One sort order on every system."""
    if major < 17:
        return ["--locale=C"]
    return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
