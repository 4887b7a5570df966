"""What counts as a change of the code, and how a child is ended."""

import signal
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from stepwell.dev.reload import Reloader, changed, snapshot


def names(folder: Path) -> set[str]:
    return {str(Path(path).relative_to(folder)) for path in snapshot(folder)}


def test_only_python_files_of_ones_own_are_watched(tmp_path: Path) -> None:
    own = ["app.py", "deep/er/part.py"]
    other = [".hidden/x.py", "__pycache__/x.py", "venv/x.py", "node_modules/x.py", "data.json"]
    for name in [*own, *other, "venv/pyvenv.cfg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == set(own)


def test_writing_making_and_removing_are_changes(tmp_path: Path) -> None:
    kept, written, gone, new = (tmp_path / f"{name}.py" for name in ("k", "w", "g", "n"))
    for path in (kept, written, gone):
        path.touch()
    before = snapshot(tmp_path)
    assert changed(before, snapshot(tmp_path)) == []
    written.write_text("x = 1")
    gone.unlink()
    new.touch()
    assert changed(before, snapshot(tmp_path)) == sorted(map(str, (written, gone, new)))


def test_a_folder_that_went_away_is_empty(tmp_path: Path) -> None:
    assert snapshot(tmp_path / "gone") == {}


class Reloading:
    """A reloader in a thread; its child is a small script."""

    def __init__(self, folder: Path, script: str, **options: object) -> None:
        self.said: list[str] = []
        self._news = threading.Condition()
        self.log = folder / "log.txt"
        command = [sys.executable, "-S", "-c", script, str(self.log)]
        self.reloader = Reloader(command, folder, self._say, interval=0.02, **options)  # pyright: ignore[reportArgumentType]
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.reloader.run()))
        self.thread.start()

    def _say(self, text: str) -> None:
        with self._news:
            self.said.append(text)
            self._news.notify_all()

    def heard(self, word: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: any(word in each for each in self.said), 15)

    def wrote(self, text: str) -> None:
        pause = threading.Event()
        for _ in range(750):
            if self.log.exists() and self.log.read_text() == text:
                return
            pause.wait(0.02)
        raise AssertionError(self.log.read_text() if self.log.exists() else "nothing")

    def end(self) -> int:
        self.reloader.stop()
        self.thread.join(15)
        return self.codes[0]


WRITE = "import sys; open(sys.argv[1], 'a').write('a'); "
WAIT = WRITE + "sys.stdin.read()"
START = Callable[..., Reloading]


@pytest.fixture
def start(tmp_path: Path) -> Generator[START]:
    made: list[Reloading] = []

    def start(script: str, **options: object) -> Reloading:
        made.append(Reloading(tmp_path, script, **options))
        return made[-1]

    yield start
    for each in made:
        if each.thread.is_alive():
            each.end()


def test_a_change_starts_the_child_again(tmp_path: Path, start: START) -> None:
    reloading = start(WAIT)
    reloading.wrote("a")
    (tmp_path / "new").write_text("x = 1")
    (tmp_path / "new").rename(tmp_path / "app.py")  # one change, however slowly it is written
    reloading.heard("app.py changed")
    reloading.wrote("aa")
    assert reloading.end() == 0


def test_a_child_that_fails_waits_for_a_change(tmp_path: Path, start: START) -> None:
    reloading = start(WRITE + "sys.exit(1)")
    reloading.heard("waiting for a change")
    reloading.wrote("a")
    (tmp_path / "app.py").touch()
    reloading.wrote("aa")
    reloading.end()


def test_a_failure_that_may_mend_itself_is_tried_again(start: START) -> None:
    once = WRITE + "open(sys.argv[1]).read() == 'a' and sys.exit(3); sys.stdin.read()"
    reloading = start(once, retry_codes=frozenset({3}), retry_pause=0.01)
    reloading.wrote("aa")
    reloading.end()


def test_a_child_that_does_not_stop_is_killed(start: START) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAIT
    reloading = start(deaf, patience=0.2)
    reloading.wrote("a")
    assert reloading.end() == 0
    assert any("killing it" in each for each in reloading.said)


def test_the_child_gets_one_signal_and_a_second_stop_sends_another(start: START) -> None:
    count = (
        "import signal, sys, time\n"
        "log = open(sys.argv[1], 'ab', buffering=0)\n"
        "seen = []\n"
        "def note(number, frame):\n"
        "    seen.append(number); log.write(b's')\n"
        "    if len(seen) == 2: sys.exit(7)\n"
        f"signal.signal({int(signal.SIGTERM)}, note)\n"
        "log.write(b'a')\n"
        "while True: time.sleep(0.01)\n"
    )
    reloading = start(count)
    reloading.wrote("a")
    reloading.reloader.stop()
    reloading.wrote("as")
    assert reloading.end() == 7
    assert reloading.log.read_text() == "ass"


@pytest.mark.parametrize("when", ["started", "ended"])
def test_a_stop_while_a_child_is_started_or_ended_is_one_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """As from a signal handler, between two lines: the child has just been started, or a change of
    the code is ending it."""
    sent: list[int] = []

    class Child:
        returncode = None
        stdin = None

        def __init__(self, *_: object, **__: object) -> None:
            (tmp_path / "app.py").touch()

        def poll(self) -> None: ...

        def wait(self, _: float) -> int:
            return -signal.SIGTERM

        def send_signal(self, number: int) -> None:
            sent.append(number)
            if when == "ended" and len(sent) == 1:
                reloader.stop()

    class Told(threading.Event):
        """Who asks it first when the child is there is told right before the answer."""

        told = when == "ended"

        def is_set(self) -> bool:
            if reloader._child is not None and not self.told:  # pyright: ignore[reportPrivateUsage]
                self.told = True
                reloader.stop()
            return super().is_set()

    monkeypatch.setattr("stepwell.dev.reload.subprocess.Popen", Child)
    reloader = Reloader(["child"], tmp_path, lambda _: None, interval=0.001)
    reloader._stop = Told()  # pyright: ignore[reportPrivateUsage]
    assert reloader.run() == 0
    assert sent == [signal.SIGTERM]
