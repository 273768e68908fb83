"""Finding the tools of PostgreSQL and the compressor, and running the short ones."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from backstay.errors import DatabaseError

DEBIAN_BINARIES = Path("/usr/lib/postgresql")
ANSWER_S = 30.0
"""How long a short question to a tool or a server may take."""

_VERSION = re.compile(r"\b(\d+)(?:\.\d+)*")


def find_tool(name: str) -> str:
    """Path of a PostgreSQL tool: the newest Debian version, else the one on PATH. DatabaseError when missing."""
    found = next(_places(name), None)
    if found is None:
        raise DatabaseError(f"{name} is not installed", hint="apt-get install postgresql-client")
    return found


def find_tool_of(name: str, major: int) -> str:
    """Path of a PostgreSQL tool of exactly this major version. DatabaseError that names the package when there is none.

    An older pg_dump refuses a newer server, and what a newer one writes an older server cannot restore.
    """
    seen = []
    for path in _places(name):
        have = major_of(version(path))
        if have == major:
            return path
        seen.append(str(have))
    there = f"only version {', '.join(seen)} is" if seen else "none is"
    raise DatabaseError(
        f"the server is PostgreSQL {major} and needs the {name} of that version, but {there} installed here",
        hint=f"apt-get install postgresql-client-{major} (from apt.postgresql.org when the distribution lacks it)",
    )


def version(path: str) -> str:
    """What a tool says to `--version`, one line."""
    return run([path, "--version"], env={}).strip().partition("\n")[0]


def major_of(said: str) -> int:
    """15 of `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; 0 when there is no number."""
    found = _VERSION.search(said)
    return int(found[1]) if found else 0


def find_compressor() -> str | None:
    """Path of `zstd`; None where it is not installed."""
    return shutil.which("zstd")


def run(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Standard output of a short command. DatabaseError with its first words when it fails, or takes too long."""
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired:
        # Not `from`: the error carries the arguments and the output.
        done = None
    except OSError as error:
        raise DatabaseError(f"{argv[0]} cannot be run: {error.strerror}", hint="is it executable?") from error
    if done is None:
        raise DatabaseError(
            f"{name} had no answer for {ANSWER_S:g} s",
            hint="does the server hang, or a firewall drop packets?",
        )
    if done.returncode != 0:
        raise failed(name, done.returncode, done.stderr)
    return done.stdout.decode(errors="replace")


def failed(name: str, status: int, said: bytes) -> DatabaseError:
    """The error for a tool that ended badly: its first words, and the usual cure for them."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    words = lines[0].removeprefix(f"{name}: error: ") if lines else ""
    if "statement timeout" in words:  # what pg_dump's own time limit for a lock looks like
        locked = next((line.partition("Query was: ")[2] for line in lines if "Query was: LOCK" in line), "")
        words += f" ({locked})" if locked else ""
    ending = f"was killed by signal {-status}" if status < 0 else f"exit status {status}"
    return DatabaseError(f"{name} failed: {words or ending}", hint=_cure(words, status))


_CURES = (
    ("password authentication failed", "put the right password into the database URL of the secrets file"),
    ("no password supplied", "the database URL of the secrets file has no password"),
    ("does not exist", "is the database URL right? it names the database, the user and the server"),
    ("too many clients", "raise max_connections, or find who holds so many: select * from pg_stat_activity"),
    ("remaining connection slots", "raise max_connections, or find who holds so many: select * from pg_stat_activity"),
    ("permission denied", "grant pg_read_all_data to the role, or name a role that may dump by backup_url_secret"),
    ("statement timeout", "somebody holds a table locked: select * from pg_locks where mode = 'AccessExclusiveLock'"),
    ("row-level security", "name a role with BYPASSRLS by backup_url_secret"),
    ("server version mismatch", "install the client tools of the server's major version"),
    ("terminating connection", "the server's log says who ended the session"),
    ("server closed the connection", "the server's log says why"),
    ("shutting down", "wait until the server is up again"),
    ("starting up", "wait until the server is up"),
    ("No space left", "free space on that disk"),
)  # fmt: skip


def _cure(words: str, status: int) -> str:
    if status == -9:
        return "somebody, or the kernel for want of memory (dmesg), killed it; try again"
    for sign, cure in _CURES:
        if sign in words:
            return cure
    return "is the database reachable from this host (listen_addresses, pg_hba.conf)?"


def _places(name: str) -> Iterator[str]:
    """Every place where the tool is, the newest Debian version first, PATH last."""
    versions = (p for p in DEBIAN_BINARIES.glob("*/bin") if p.parent.name.isdigit())
    for folder in sorted(versions, key=lambda p: int(p.parent.name), reverse=True):
        if (folder / name).exists():
            yield str(folder / name)
    found = shutil.which(name)
    if found is not None:
        yield found
