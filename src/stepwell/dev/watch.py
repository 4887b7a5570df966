"""The watcher: a process of its own that stops the server when its last user is gone.

Every user of the server holds a shared lock on the lease; the watcher waits for the exclusive one.
It is run as a file, by a Python without site packages: it imports the standard library only.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path


def spawn(home: Path, data: Path, pg_ctl: Path, uid: int, gid: int, lock: int) -> None:
    """Start a watcher; it inherits `lock`, which tells others that there is one."""
    paths = (str(home), str(data), str(pg_ctl))
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *paths, str(uid), str(gid), str(lock)],
        pass_fds=[lock],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    ).returncode = 0  # it outlives us: nobody waits for it


def watch(home: Path, data: Path, pg_ctl: Path, uid: int, gid: int, lock: int) -> None:
    lease = os.open(home / "lease", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lease, fcntl.LOCK_EX)
    if not (home / "keep").exists():
        stop(data, pg_ctl, uid, gid)
    os.close(lock)  # first: who gets the lease next must see that there is no watcher any more
    os.close(lease)


def stop(data: Path, pg_ctl: Path, uid: int, gid: int) -> None:
    """More than once: a user killed while starting the server leaves one that is only coming up."""
    other = uid != os.geteuid()
    for how in ("fast", "fast", "immediate"):
        ended = subprocess.run(
            [str(pg_ctl), "-D", str(data), "-m", how, "-w", "-t", "60", "-s", "stop"],
            user=uid if other else None,
            group=gid if other else None,
            extra_groups=[] if other else None,
            cwd="/",
        )
        if ended.returncode == 0:
            break
        time.sleep(0.2)


if __name__ == "__main__":
    home, data, pg_ctl = map(Path, sys.argv[1:4])
    uid, gid, lock = map(int, sys.argv[4:])
    watch(home, data, pg_ctl, uid, gid, lock)
