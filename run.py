#!/usr/bin/env python3
"""From a fresh clone to a running command: python3 run.py demo | test | install | TOOL ...

Makes .venv beside this file, installs the locked packages once per change of the lock, and becomes
the command. Standard library only; old Pythons can read it, so that it can look for a newer one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
LOCK = ROOT / "requirements.lock"
STATE = VENV / ".stepwell"  # "installing", or what is installed
UNFINISHED = "installing"
TOLD_EVERY = 15  # packages


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever starts this file may well be older)
        become_newer_python()
    name, arguments = (sys.argv[1:2] or ["help"])[0], sys.argv[2:]
    if name in ("help", "-h", "--help"):
        sys.exit(__doc__)
    try:
        prepare()
    except PermissionError as error:
        sys.exit(
            f"{error}\nThis checkout or its .venv belongs to another user: clone it as your own."
        )
    except subprocess.CalledProcessError as error:
        sys.exit(f"Could not install: `{' '.join(error.cmd)}` ended with {error.returncode}.")
    if name != "install":
        become([*command(name), *arguments])


def command(name: str) -> list[str]:
    if name == "demo":
        return [str(PYTHON), "-m", "stepwell", "demo"]
    if name == "test":
        return [str(BIN / "pytest"), "-n", "auto", "--dist", "worksteal"]
    if not (BIN / name).exists():
        sys.exit(
            f"There is no {name!r} in {BIN}: use demo, test, install or one of the tools there."
        )
    return [str(BIN / name)]


def become(command: list[str]) -> None:
    sys.stdout.flush()
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(VENV)}
    os.execve(command[0], command, environment)


# --- the environment -------------------------------------------------------------------------


def prepare() -> None:
    """Install unless it is done; one process at a time, and never on top of a broken attempt."""
    wanted = fingerprint()
    if is_ready(wanted):
        return
    with one_at_a_time():
        if is_ready(wanted):
            return
        say("preparing .venv: a minute or more, and only when the locked packages change")
        if not is_usable():
            discard()
        install()
        STATE.write_text(wanted)


def fingerprint() -> str:
    """The path belongs to it: scripts of a moved environment point to where it was."""
    content = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", LOCK.name))
    return f"{ROOT}\n{hashlib.sha256(content).hexdigest()}\n"


def state() -> str | None:
    try:
        return STATE.read_text()
    except FileNotFoundError:
        return None


def is_ready(wanted: str) -> bool:
    return state() == wanted and PYTHON.exists()


def is_usable() -> bool:
    """Whether to install into what is there: not if half-made, moved, or its Python is gone."""
    found = state()
    if found is not None and found.split("\n")[0] != str(ROOT):
        return False
    test = "import sys; sys.exit(sys.version_info < (3, 11))"
    return PYTHON.exists() and subprocess.run([str(PYTHON), "-c", test]).returncode == 0


def discard() -> None:
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        grave = ROOT / f".venv.broken-{os.getpid()}"
        VENV.rename(grave)  # at one stroke: a half-removed environment would look like a user's own
        shutil.rmtree(grave)


@contextlib.contextmanager
def one_at_a_time() -> Generator[None]:
    with open(ROOT / "pyproject.toml") as file:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- the two installers ----------------------------------------------------------------------


def install() -> None:
    uv = shutil.which("uv")
    if uv is not None:
        try:
            return install_with_uv(uv)
        except subprocess.CalledProcessError:
            say("uv did not succeed; once more with pip")
            discard()
    install_with_pip()


def install_with_uv(uv: str) -> None:
    begin()
    if not PYTHON.exists():
        run(uv, "venv", "-q", "--allow-existing", "--python", sys.executable, str(VENV))
    pip = [uv, "pip", "install", "-q", "--python", str(PYTHON)]
    run(*pip, "--require-hashes", "-r", str(LOCK))
    run(*pip, "--no-deps", "-e", str(ROOT))


def install_with_pip() -> None:
    if not (BIN / "pip").exists():
        require_venv_module()
        begin()
        run(sys.executable, "-m", "venv", str(VENV))
    begin()
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    if os.geteuid() == 0:
        pip.append("--root-user-action=ignore")
    run_telling(*pip, "--progress-bar", "off", "--require-hashes", "-r", str(LOCK))
    run(*pip, "-q", "--no-deps", "-e", str(ROOT))


def begin() -> None:
    VENV.mkdir(exist_ok=True)
    STATE.write_text(UNFINISHED)


def run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def run_telling(*pip: str) -> None:
    """Of what pip says, how far it is: a slow network looks like one that stands still."""
    fetched = 0
    with subprocess.Popen(
        pip, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Collecting "):
                fetched += 1
                if fetched % TOLD_EVERY == 0:
                    say(f"fetched {fetched} packages")
            elif line.startswith("Installing collected packages"):
                say(f"installing {fetched} packages: the last part")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, pip)


def say(text: str) -> None:
    print(f"run.py: {text}", file=sys.stderr, flush=True)


# --- a Python that can do it -----------------------------------------------------------------


def become_newer_python() -> None:
    for version in ("3.14", "3.13", "3.12", "3.11"):
        path = shutil.which(f"python{version}")
        if path is not None:
            os.execv(path, [path, *sys.argv])
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")


def require_venv_module() -> None:
    """Debian keeps it in a package of its own."""
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        sys.exit(
            "This Python cannot make virtual environments (no venv or ensurepip).\n"
            "Debian, Ubuntu: sudo apt install python3-venv   or install uv; then run this again."
        )
    say("python3-venv is missing: installing it with apt-get")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run(apt, "update", "-qq")
    run(apt, "install", "-y", "-qq", "--no-install-recommends", "python3-venv")
    os.execv(sys.executable, [sys.executable, *sys.argv])


if __name__ == "__main__":
    main()
