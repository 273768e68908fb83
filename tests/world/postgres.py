"""A private PostgreSQL cluster that containers and the control host reach, with a database per test."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import signal
from pathlib import Path
from typing import TypedDict

from tests.world import processes
from tests.world.commands import run, succeeds
from tests.world.errors import WorldError
from tests.world.layout import Layout
from tests.world.state import Mark, PostgresPlan, State

OS_USER = "postgres"
SUPERUSER = "world"
STOP = signal.SIGINT  # "fast shutdown": ends sessions without waiting for them
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


class DatabaseUrls(TypedDict):
    """One database: as a container reaches it, as the control host does, and as its superuser (host)."""

    name: str
    user: str
    password: str
    container: str
    host: str
    admin: str


def plan(port: int, gateway: str) -> PostgresPlan:
    return PostgresPlan(
        host="127.0.0.1",
        gateway=gateway,
        container_host="host.docker.internal",
        port=port,
        superuser=SUPERUSER,
        password=secrets.token_hex(16),
        bin_dir=str(_bin_dir()),
        os_user=_os_user(),
    )


def start(layout: Layout, state: State) -> Mark:
    """Make the cluster and start its server; WorldError with the log when initdb fails."""
    database = state.postgres
    folder = layout.postgres
    _owned_folder(folder, database.os_user)
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(database.password + "\n", encoding="utf-8")
    os.chown(password_file, *_ids(database.os_user))
    data = folder / "data"
    words = ["--username", database.superuser, "--pwfile", str(password_file), "--auth=scram-sha-256"]
    words += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--data-checksums", "-D", str(data)]
    run([Path(database.bin_dir) / "initdb", *words], user=database.os_user, seconds=120)
    password_file.unlink()
    with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write(_settings(database, folder))
    (data / "pg_hba.conf").write_text(_access(state.network.pool), encoding="utf-8")
    return start_again(layout, state)


def start_again(layout: Layout, state: State) -> Mark:
    """Start the server on the cluster that is there."""
    database = state.postgres
    argv: list[str | Path] = [Path(database.bin_dir) / "postgres", "-D", layout.postgres / "data"]
    return processes.start(argv, layout.log("postgres"), user=database.os_user)


def await_ready(layout: Layout, state: State, mark: Mark) -> None:
    processes.await_service("postgres", mark, lambda: answers(state.postgres), layout.log("postgres"))


def remaining(layout: Layout) -> set[Mark]:
    """Processes of the cluster, found by their working directory even when nobody recorded them."""
    return processes.working_in(layout.postgres / "data")


def answers(database: PostgresPlan) -> bool:
    """Whether the superuser can ask something, by the loopback address and by the bridge."""
    return all(
        succeeds(_psql(database, address, "-c", "SELECT 1"), env=_password(database))
        for address in (database.host, database.gateway)
    )


def query(database: PostgresPlan, sql: str, name: str = "postgres") -> str:
    """Run SQL as the superuser; rows as unaligned text. WorldError with the server's words when it fails."""
    argv = _psql(database, database.host, "-v", "ON_ERROR_STOP=1", "-At", "-f", "-", name=name)
    return run(argv, env=_password(database), stdin=sql)


def create_database(database: PostgresPlan, name: str) -> DatabaseUrls:
    """A fresh database owned by a fresh role of the same name; an old one of that name is dropped."""
    drop_database(database, name)
    password = secrets.token_hex(16)
    query(
        database,
        f"CREATE ROLE \"{name}\" LOGIN CREATEDB PASSWORD '{password}';\n"
        f'CREATE DATABASE "{name}" OWNER "{name}" TEMPLATE template0;\n',
    )
    return DatabaseUrls(
        name=name,
        user=name,
        password=password,
        container=_url(database, database.container_host, name, password, name),
        host=_url(database, database.host, name, password, name),
        admin=_url(database, database.host, database.superuser, database.password, name),
    )


def drop_database(database: PostgresPlan, name: str) -> None:
    """Drop the database, with sessions that are open, every other one its role owns, and the role."""
    if not NAME.fullmatch(name):
        raise WorldError(f"not a name for a test database (a-z, 0-9, _; at most 41): {name!r}")
    owned = query(
        database,
        "SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba "
        f"WHERE r.rolname = '{name}' OR datname = '{name}'",
    ).splitlines()
    drops = [f'DROP DATABASE "{one.replace(chr(34), chr(34) * 2)}" WITH (FORCE);' for one in owned]
    query(database, "\n".join([*drops, f'DROP ROLE IF EXISTS "{name}";']))


def _psql(database: PostgresPlan, address: str, *words: str, name: str = "postgres") -> list[str]:
    who = ["-h", address, "-p", str(database.port), "-U", database.superuser, "-d", name]
    return [str(Path(database.bin_dir) / "psql"), "-X", "-q", "-w", *who, *words]


def _password(database: PostgresPlan) -> dict[str, str]:
    return {"PGPASSWORD": database.password, "PGCONNECT_TIMEOUT": "5"}


def _url(database: PostgresPlan, address: str, user: str, password: str, name: str) -> str:
    return f"postgresql://{user}:{password}@{address}:{database.port}/{name}"


def _settings(database: PostgresPlan, folder: Path) -> str:
    # The cluster lives for a test run only: durability is given up for speed.
    return f"""
listen_addresses = '{database.host},{database.gateway}'
port = {database.port}
unix_socket_directories = '{folder}'
max_connections = 300
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = replica
max_wal_senders = 10
shared_buffers = 128MB
log_min_duration_statement = 1000
"""


def _access(pool: str) -> str:
    lines = ["local all all scram-sha-256"]
    for address in ("127.0.0.1/32", pool):
        lines += [f"host all all {address} scram-sha-256", f"host replication all {address} scram-sha-256"]
    return "\n".join(lines) + "\n"


def _owned_folder(folder: Path, os_user: str) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, *_ids(os_user))


def _ids(os_user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(os_user)
    return entry.pw_uid, entry.pw_gid


def group_id() -> int:
    """The group that must be allowed to pass through the world's folder."""
    return _ids(_os_user())[1]


def _os_user() -> str:
    try:
        return pwd.getpwnam(OS_USER).pw_name
    except KeyError as missing:
        raise WorldError(f"there is no user {OS_USER!r}; the package 'postgresql' makes it") from missing


def _bin_dir() -> Path:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").is_file()]
    if not found:
        raise WorldError("PostgreSQL is not installed: run './dev world up' as root, which installs it")
    return max(found, key=lambda path: float(path.parent.name))
