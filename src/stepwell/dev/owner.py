"""Who runs the server: the user itself, or, as Postgres refuses root, a service account.

For root that is `postgres` if there is such an account, else `nobody`: no account is made and no
directory of root's is opened. Data of `nobody` are fine for a demo, not for more.
"""

import errno
import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stepwell.errors import EmbeddedError

_SERVICE_ACCOUNTS = ("postgres", "nobody")  # accounts that exist: initdb refuses a made-up user id


@dataclass(frozen=True, slots=True)
class Owner:
    """The account that owns the data; `is_other`: it is not the account of this process."""

    name: str
    uid: int
    gid: int
    is_other: bool

    @classmethod
    def of(cls, data: Path) -> Self:
        """Whose data it is already, else who shall own it."""
        if os.geteuid() != 0:
            return cls(own_name(), os.geteuid(), os.getegid(), is_other=False)
        if data.exists():  # never chosen anew: installing Postgres adds an account
            return cls._from(pwd.getpwuid(data.stat().st_uid))
        for name in _SERVICE_ACCOUNTS:
            try:
                return cls._from(pwd.getpwnam(name))
            except KeyError:
                continue
        raise EmbeddedError(
            "Postgres does not run as root, and there is no account `postgres` or `nobody` to run "
            "it as: run as an ordinary user, or set DATABASE_URL to a server of yours"
        )

    @classmethod
    def _from(cls, account: pwd.struct_passwd) -> Self:
        return cls(account.pw_name, account.pw_uid, account.pw_gid, is_other=True)

    def make_private(self, directory: Path) -> None:
        """Make it the owner's, closed to others; what somebody else made is not taken over."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if directory.is_symlink() or found.st_uid not in (os.geteuid(), self.uid):
            raise EmbeddedError(f"{directory} is not a directory of {self.name}'s: remove it")
        directory.chmod(0o700)
        if self.is_other:
            try:
                os.chown(directory, self.uid, self.gid)
            except PermissionError as error:
                raise _powerless_root(self.name) from error

    def can_enter(self, directory: Path) -> bool:
        code, _ = self.run("/bin/sh", "-c", 'cd "$0"', directory)
        return code == 0

    def run(self, *command: str | Path, timeout: float = 120) -> tuple[int, str]:
        """Run a program as the owner; its exit code and what it printed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        with (
            tempfile.TemporaryFile() as output
        ):  # no pipe: a server started here would keep it open
            try:
                result = subprocess.run(
                    [str(part) for part in command],
                    user=self.uid if self.is_other else None,
                    group=self.gid if self.is_other else None,
                    extra_groups=[] if self.is_other else None,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env={**environment, "LC_ALL": "C"},
                    timeout=timeout,
                )
            except PermissionError as error:
                if error.errno == errno.EPERM:
                    raise _powerless_root(self.name) from error
                return 126, str(error)
            output.seek(0)
            return result.returncode, output.read().decode(errors="replace").strip()


def own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedError(
            f"user id {os.geteuid()} has no account on this machine, and Postgres needs one: "
            "run as a user with a name, or set DATABASE_URL to a server of yours"
        ) from None


def _powerless_root(name: str) -> EmbeddedError:
    return EmbeddedError(
        f"Postgres does not run as root, and this root may not become {name!r} (a container "
        "without CAP_SETUID, CAP_SETGID or CAP_CHOWN): run as an ordinary user, or set DATABASE_URL"
    )
