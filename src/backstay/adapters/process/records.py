"""What the engine remembers of each process, in one folder per process.

`record.json` is written before anything starts and says what was wanted; `state.json` says which processes were
started for it; `exit.json` how it ended. No secret is written: the environment goes through a pipe.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.files import write_durably
from backstay.adapters.host import boot_id, start_time

RECORD: Final = "record.json"
STATE: Final = "state.json"
EXIT: Final = "exit.json"
LOG: Final = "log"
_SHORTEST_ID: Final = 12
_TRASH: Final = ".trash-"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,250}")


@dataclass(frozen=True, slots=True)
class Record:
    """What was wanted: a name, labels, the release as `Release.reference`, and the loopback port, if any.

    `one_off` is a process that is to end by itself and is never started twice.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    image: str
    port: int | None
    one_off: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A process that cannot be taken for another: pid, kernel start time and boot id."""

    pid: int
    started: int
    boot_id: str

    @property
    def is_alive(self) -> bool:
        return self.boot_id == boot_id() and start_time(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class State:
    """What was started: the supervisor, and the program as soon as it runs. `started_at` is RFC 3339 UTC."""

    supervisor: Mark
    program: Mark | None
    started_at: str


class Records:
    """The records below one folder of the state folder. Questions create nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, name: str) -> Path:
        """Where the files of the process `name` lie."""
        return self.folder / name

    def all(self) -> list[Record]:
        return list(self._all())

    def find(self, process: str) -> Record | None:
        """The record of a process by name or id (at least its first 12 digits); None when there is none."""
        if _NAME.fullmatch(process) and (named := self._read(process)) is not None:
            return named
        if len(process) < _SHORTEST_ID:
            return None
        return next((record for record in self._all() if record.id.startswith(process)), None)

    def write(self, record: Record) -> None:
        folder = self.of(record.name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(folder / RECORD, json.dumps(asdict(record)))

    def state(self, name: str) -> State | None:
        """What was started for the process; None when nothing was."""
        found = read_json(self.of(name) / STATE)
        if found is None:
            return None
        program = found["program"]
        return State(Mark(**found["supervisor"]), Mark(**program) if program else None, found["started_at"])

    def exit_code(self, name: str) -> int | None:
        """The recorded exit code; None while it runs, or when nobody was left to record it."""
        found = read_json(self.of(name) / EXIT)
        return None if found is None else int(found["exit_code"])

    def begin_again(self, name: str) -> None:
        """Forget how an earlier run went."""
        for file in (EXIT, STATE):
            (self.of(name) / file).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Forget the process. It vanishes at once, whatever happens while its files are deleted."""
        trash = self.folder / f"{_TRASH}{uuid.uuid4().hex}"
        try:
            self.of(name).rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)

    def _all(self) -> Iterator[Record]:
        if not self.folder.is_dir():
            return
        for entry in sorted(self.folder.iterdir()):
            if not entry.name.startswith(".") and (record := self._read(entry.name)) is not None:
                yield record

    def _read(self, name: str) -> Record | None:
        found = read_json(self.of(name) / RECORD)
        return None if found is None else Record(**found)


def is_name(name: str) -> bool:
    """Whether a process can have this name: it becomes a folder's."""
    return _NAME.fullmatch(name) is not None


def read_json(path: Path) -> dict[str, Any] | None:
    """A file that was written whole or not at all; None when it is not there."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found
