"""One worker process of a crew: started, listened to, told to stop, killed when it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

LONGEST_REPORT = 2**20
_reports = msgspec.json.Decoder(dict[str, Any])


@dataclass
class Member:
    """A process that says how it is on a pipe. Its stdin is a pipe of ours: it ends with us, so
    that the process learns of our death even by SIGKILL. It leads a process group of its own, so
    that a Ctrl-C reaches it through us, once."""

    number: int
    started_at: float = field(default_factory=time.monotonic)
    pid: int = 0
    heard_at: float | None = None
    report: Mapping[str, Any] = field(default_factory=dict[str, Any])
    up: bool = False
    _process: asyncio.subprocess.Process | None = None

    async def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start it and wait for its end; the exit code, below 0 for the signal that killed it."""
        reading, writing = os.pipe()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                "--report",
                str(writing),
                stdin=asyncio.subprocess.PIPE,
                env=dict(environment),
                pass_fds=(writing,),
                process_group=0,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pid = process.pid
        listening = asyncio.create_task(self._listen(reading))
        try:
            return await process.wait()
        finally:
            self.kill()
            listening.cancel()

    def tell(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        self.tell(signal.SIGKILL)

    @property
    def silence(self) -> float:
        """Seconds since its last report; 0 while it still starts."""
        return 0.0 if self.heard_at is None else time.monotonic() - self.heard_at

    async def _listen(self, descriptor: int) -> None:
        reader = asyncio.StreamReader(limit=LONGEST_REPORT)
        pipe = open(descriptor, "rb", buffering=0)  # noqa: ASYNC230, SIM115 (the transport closes it)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                with suppress(msgspec.DecodeError):  # cut off by its end
                    self.report = _reports.decode(line)
                    self.heard_at = time.monotonic()
                    self.up = self.up or self.report.get("state") == "serving"
        finally:
            transport.close()
