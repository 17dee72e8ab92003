"""`lyo demo`: shows all five kinds, runs twice, and leaves no process behind however it ends."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lyo.tools.stack import processes
from lyo.tools.stack.jars import REPOSITORY, ensure_jars
from lyo.tools.stack.local import default_home
from tests.support.servers.maven import of_folder, serving

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
SECTIONS = ("Dropout risk", "Timing", "Plateaus", "Regressions", "Struggle")
SMALL = ("--learners", "60", "--days", "45", "--seed", "7")
RUNNING = "Ctrl-C stops it all"


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "lyo.cli.main", "demo", "--home", str(home), *arguments]


def once(home: Path, *arguments: str) -> str:
    result = subprocess.run(
        command(home, "--once", *arguments), capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


def section(output: str, title: str) -> list[str]:
    """The rows of a section's table that begin with a learner's number."""
    lines = output[output.index(f"\n{title}: ") + 1 :].split("\n\n", 1)[0].splitlines()
    return [line for line in lines[1:] if re.match(r"\d+ ", line)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a demo with the jars that this checkout has already; no process may be left in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    (default_home() / "jars").mkdir(parents=True, exist_ok=True)
    (folder / "jars").symlink_to(default_home() / "jars")
    before = {process.pid for process in psutil.process_iter()}
    yield folder
    assert processes.wait_until(lambda: not _ours(folder, before), 10), _ours(folder, before)


def _ours(home: Path, before: set[int]) -> list[str]:
    """Processes begun since that work in the folder, by their command, or have our mark."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.pid in before or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        words = process.info["cmdline"] or []
        if any(str(home) in word for word in words) or "lyo_test_demo" in _environment(process):
            found.append(" ".join(words))
    return found


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


class Running:
    """A demo that was started without --once; its output goes to a file."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.output = home.parent / "output.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                command(home, *arguments),
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"lyo_test_demo": "1"},
            )

    def says(self, text: str, seconds: float = 240) -> None:
        """Wait until the demo has printed the text."""
        processes.wait_until(lambda: text in self.text or self.process.poll() is not None, seconds)
        assert text in self.text, self.text

    @property
    def text(self) -> str:
        return self.output.read_text()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        [found] = [one for one in self.family() if one.cmdline()[-1:] == [name]]
        return found


@pytest.fixture
def running(home: Path) -> Iterator[Running]:
    """A small demo that shows its predictions and runs on; ended in any case."""
    demo = Running(home, *SMALL)
    try:
        demo.says(RUNNING)
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.terminate()
        demo.process.wait(60)


def gone(family: list[psutil.Process]) -> bool:
    return processes.wait_until(
        lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family), 10
    )


def test_all_five_kinds_are_shown_from_postgres_and_a_second_run_starts_afresh(home: Path) -> None:
    first = once(home, *SMALL)
    assert "60 simulated learners over 45 days" in first
    for title in SECTIONS:
        assert section(first, title), first
    assert "60 learners" in first
    assert re.search(r"[\d,]+ records published, all read, 0 refused", first)
    assert int(re.search(r"Shown from Postgres (\d+) s after", first)[1]) < 120  # type: ignore[index]
    assert first.rstrip().endswith("All stopped")
    assert not (home / "demo" / "kafka" / "data").exists()
    assert not (home / "demo" / "postgres" / "data").exists()

    second = once(home, "--learners", "40", "--days", "45", "--seed", "8")
    assert "\nDropout risk: 40 learners" in second, "yesterday's learners must not be among today's"


def test_a_real_file_is_shown_as_of_its_last_event_with_requests_of_the_demos_own(
    home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "old.events.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for number in range(40):
            day, second = divmod(number, 4)
            file.write(
                json.dumps(
                    {
                        "type": "lesson_completion",
                        "event_id": f"e{number}",
                        "user_id": 77,
                        "occurred_at": f"2011-03-{day + 1:02d}T10:00:{second:02d}Z",
                        "content_id": "old-lesson",
                        "skills": ["old-skill"],
                        "score": 0.0,
                    }
                )
                + "\n"
            )
        file.write('{"type":"session","event_id":"bad"}\n')
    output = once(home, "--events", str(path))
    assert "old.events.jsonl.gz: 1 learners, shown as of 2011-03-10T10:00:03.000Z" in output
    assert "line 41: " in output
    assert "so the demo makes 1: for" in output
    [struggle] = section(output, "Struggle")
    assert struggle.startswith("77 ")
    assert "old-lesson" in struggle
    assert section(output, "Dropout risk")
    assert "lesson completion 40, struggle request 1" in output


# An ordinary user, but for reading: a checkout or an interpreter in /root is open to them, too.
ORDINARY = [
    *(shutil.which("setpriv") or "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


@pytest.fixture(params=[[], ORDINARY], ids=["ours", "ordinary"])
def account(request: pytest.FixtureRequest) -> Iterator[tuple[list[str], Path]]:
    """What changes to the account that runs it, ours or an ordinary user's, and a folder that is theirs."""
    become: list[str] = request.param
    if become and os.geteuid() != 0:
        pytest.skip("we are an ordinary user")
    with tempfile.TemporaryDirectory() as home:  # pytest's own folders are closed to others
        Path(home).chmod(0o755)
        if become:
            shutil.chown(home, "nobody")
        yield become, Path(home)


def test_make_demo_on_a_machine_with_python_alone(account: tuple[list[str], Path]) -> None:
    """Neither Java nor Maven on the path, no jar fetched yet; the virtual environment is there already."""
    become, home = account
    (home / "bin").mkdir()
    for program in ("make", "bash", "python3"):
        (home / "bin" / program).symlink_to(shutil.which(program) or "")
    demo = ["make", "--assume-old=.venv/.installed", "demo", f"LYO_DEMO=--once {' '.join(SMALL)}"]
    setting = {"PATH": str(home / "bin"), "HOME": str(home), "LYO_HOME": str(home / "lyo")}
    with serving(of_folder(ensure_jars(default_home() / "jars"))) as repository:
        result = subprocess.run(
            [*become, *demo],
            cwd=ROOT,
            env=setting | {REPOSITORY: repository.url, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Fetching Kafka" in result.stdout
    assert all(section(result.stdout, title) for title in SECTIONS), result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_within_seconds(running: Running, number: signal.Signals) -> None:
    family = running.family()
    assert len(family) >= 4, "Kafka, Postgres, the worker and the sink"
    running.process.send_signal(number)
    assert running.process.wait(30) == 0
    assert "All stopped" in running.text
    assert "had to be killed" not in running.text
    assert gone(family)


def test_a_worker_that_dies_is_started_again_and_a_second_demo_is_refused(
    running: Running, home: Path
) -> None:
    worker = running.child("worker")
    worker.kill()
    running.says(f"The worker (process {worker.pid}) ended with signal 9 and was started again", 20)
    assert running.child("worker").pid != worker.pid

    second = subprocess.run(command(home, "--once"), capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert second.stderr.startswith(
        f"Error: a demo is already running in {home} (process {running.process.pid})"
    )
    assert running.process.poll() is None


def test_nothing_outlives_a_demo_that_is_killed(running: Running) -> None:
    family = running.family()
    running.process.kill()
    running.process.wait()
    assert gone(family)


def test_an_interrupt_during_the_start_leaves_nothing_behind(home: Path) -> None:
    demo = Running(home, *SMALL)
    demo.says("Kafka started on port")
    family = demo.family()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0, demo.text
    assert "Shown from Postgres" not in demo.text
    assert gone(family)


def test_the_usual_ports_may_be_taken(home: Path) -> None:
    """The demo has free ports of its own, so neither `lyo up` nor another program is in its way."""
    taken = []
    try:
        for port in (9092, 5432):
            listener = socket.socket()
            taken.append(listener)
            if processes.port_is_free(port):
                listener.bind((processes.LOOPBACK, port))
                listener.listen()
        output = once(home, "--learners", "5", "--days", "10", "--seed", "1")
    finally:
        for listener in taken:
            listener.close()
    ports = re.findall(r"started on port (\d+)", output)
    assert len(ports) == 2
    assert not {"9092", "5432"} & set(ports)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no event"),
        (b'{"type":"session"}\nnonsense\n', "holds no event"),
        (b"\x1f\x8bno gzip at all", "cannot be read"),
    ],
)
def test_a_file_of_no_use_is_one_line_before_anything_is_started(
    home: Path, tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(content if content[:2] == b"\x1f\x8b" else gzip.compress(content))
    result = subprocess.run(
        command(home, "--once", "--events", str(path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "started" not in result.stdout
