"""The demo, as a person runs it: a process, with and without a terminal, on an embedded server."""

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.engine.cli_programs import Program, environment, shared_home

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "stepwell", "demo"]
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_it_tells_line_by_line_without_a_terminal() -> None:
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=environment(shared_home()), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout
    assert CONTROL.search(said) is None
    for sentence in (
        r"^Postgres  embedded, its data in /",
        r"^worker    process \d+, serving examples/article/app.py$",
        r"^worker    process \d+, serving examples/shop/app.py$",
        r"^\w{4}  scrape completed after [\d.]+ m?s$",
        r"^\w{4}  embed\[2\] attempt 1 failed: ConnectionError: the model did not answer$",
        r"^\w{4}  publish completed after ",
        r"^\w{4}  publish skipped: condition",
        r"^https://example.org/en/rivers .*\"vectors\":12",
        r"^https://example.org/de/brunnen completed without output: publish was skipped$",
        r"^machine   the checkout order:\d+ waits for its payment: here it comes$",
        r"^jobs      3 of them pack its items, two at a time$",
        r"^\w{4}  pack\[0\] attempt 1 failed: ConnectionError: the warehouse did not answer$",
        r"^\w{4}  ship completed after ",
        r"^order:\d+ .*\"cents\":900.*\"parcels\":.*\"pot\"",
        r"run.py stepwell runs show [0-9a-f-]{36} --attempts$",
        r"run.py stepwell runs show order:\d+$",
    ):
        assert re.search(sentence, said, re.MULTILINE), f"{sentence}\n{said}"
    assert len(re.findall(r"run completed$", said, re.MULTILINE)) == 6


def test_it_draws_its_steps_live_on_a_terminal() -> None:
    code, said = in_a_terminal(
        COMMAND, environment(shared_home(), TERM="xterm-256color", COLUMNS="100")
    )
    assert code == 0, said
    assert "\x1b[2K" in said  # drawn over
    flow, _, rest = said.partition("machine ")
    last = drawn_last(flow)
    for words in (r"embed .* 6/6 .*1x", r"publish .*skipped .*condition", r"analyze_article v\d+"):
        assert re.search(words, last), f"{words}\n{last}"
    assert re.search(r"again in .*ConnectionError", CONTROL.sub("", flow))
    last = drawn_last(rest)
    for words in (r"checkout v\d+ .*completed", r"pack v\d+ .*completed", r"perform .*1x"):
        assert re.search(words, last), f"{words}\n{last}"


def drawn_last(said: str) -> str:
    return CONTROL.sub("", said.rpartition("\x1b[1A\x1b[2K")[2])


def test_ctrl_c_ends_it_and_its_workers() -> None:
    demo = Program("demo", environment=environment(shared_home()), cwd=ROOT)
    try:
        workers = [
            int(demo.wait_for("worker    process ", times).split()[2].rstrip(","))
            for times in (1, 2)
        ]
        for worker in workers:
            os.kill(worker, 0)
        demo.wait_for("scrape completed")  # not while Python makes its event loop
        demo.signal(signal.SIGINT)
        assert demo.end() == 130
        for worker in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(worker, 0)
        assert "Traceback" not in "".join(demo.lines)
    finally:
        demo.close()


def in_a_terminal(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while some := os.read(ours, 65536):
                said += some
        except OSError as error:  # how Linux says that the other side closed
            assert error.errno == errno.EIO
        os.close(ours)
    return process.returncode, said.decode()
