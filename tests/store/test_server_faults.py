"""Whatever is wrong with a server: one StoreError that says what, why and what to do, and never a password."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import psycopg
import pytest

from backstay.adapters.store import open_reader, open_store
from backstay.adapters.store.location import located
from backstay.adapters.store.server import faults
from backstay.adapters.store.server.address import Server, server_of
from backstay.errors import BackstayError, StoreError, UsageError
from tests.postgres.server import PASSWORD
from tests.postgres.server import Server as PostgresServer
from tests.store.samples import APP, ENV, begun
from tests.world import World

URL = "postgresql+psycopg://me:s3cret%40X@db.example:6543/state"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("writing", "reading"):
        monkeypatch.setattr(f"backstay.adapters.store.server.{module}.OPENING_S", 0.0)


def refused(act: Callable[[], object], why: str, *secrets: str) -> StoreError:
    with pytest.raises(StoreError, match=why) as caught:
        act()
    assert caught.value.hint
    assert not [secret for secret in (PASSWORD, *secrets) if secret in everything(caught.value)]
    return caught.value


def everything(error: BackstayError) -> str:
    """What the error says and all that a traceback would show of what it came from, but for lines of source."""
    words, one = [str(error.hint), str(error.state)], cast(BaseException | None, error)
    while one is not None:
        words.append(str(one))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return " ".join(words)


# ---- names


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "state at db.example:6543"),
        ("postgresql://me@db.example/state", "state at db.example:5432"),
        ("postgres://me:pw%2F1@one:1,two:2/state?target_session_attrs=read-write", "state at one:1,two:2"),
        ("postgresql://me:pw@[::1]:99/state", "state at [::1]:99"),
        (
            "postgresql+psycopg:///state?host=/run/postgresql&user=me&password=hidden",
            "state at /run/postgresql",
        ),
        ("postgresql:///state", "state at this host"),
        ("postgresql://%2Frun%2Fpostgresql/state", "state at /run/postgresql"),
    ],
)
def test_how_a_server_is_named(url: str, name: str) -> None:
    server = located(url)
    assert isinstance(server, Server)
    assert str(server) == server.name == name
    for hidden in ("s3cret", "pw", "hidden"):
        assert hidden not in repr(server) + str(server)
    assert server.url.reveal() == url.replace("+psycopg", "").replace("postgres://", "postgresql://")
    assert server.without_secrets("it was s3cret@X") in ("it was [redacted]", "it was s3cret@X")
    assert psycopg.conninfo.conninfo_to_dict(server.url.reveal())["dbname"] == "state"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3c@ret@db/state",
        "postgresql+psycopg://me:s3c/ret@db/state",
        "postgresql+psycopg://me:s3c#ret@db/state",
        "postgresql+psycopg://me:s3c?ret@db/state",
        "postgresql+psycopg://me:s3cret@db:port/state",
        "postgresql+psycopg://me:s3cret@db/",
        "postgresql+psycopg://me:s3cret@[db/state",
        "mysql://me:s3cret@db/state",
        "postgresql+asyncpg://me:s3cret@db/state",
    ],
)
def test_a_malformed_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as told:
        located(url)
    said = everything(told.value)
    assert told.value.hint and "s3c" not in said and "ret@" not in said


def test_what_libpq_finds_wrong_with_a_url_is_not_shown_either() -> None:
    for wrong in ("postgresql://me:s3cret@db/state?nonsense=1", "postgresql://me:s3cret%zz@db/state"):
        error = refused(partial(open_store, wrong), "the URL is malformed", "s3cret", "zz")
        assert "BACKSTAY_STORE" in (error.hint or "")


# ---- what psycopg raises


@pytest.mark.parametrize(
    ("state", "why", "kind"),
    [
        ("53100", "its disk is full", StoreError),
        ("53200", "out of memory", faults.Away),
        ("57P01", "ended the connection", faults.Away),
        ("57P03", "ended the connection", faults.Away),
        ("08006", "the connection broke", faults.Away),
        ("40001", "other sessions were in the way", faults.InTheWay),
        ("40P01", "other sessions were in the way", faults.InTheWay),
        ("55P03", "keeps it locked", faults.InTheWay),
        ("25006", "accepts no writes", faults.Away),
        ("42P01", "a table is missing", StoreError),
        ("42501", "no right", StoreError),
        ("XX001", "its data is damaged", StoreError),
        ("22001", "refused the row", StoreError),
        ("0A000", "a plan is out of date", faults.Away),
        ("0B000", "it refused", StoreError),
    ],
)
def test_what_a_server_says_becomes_words_and_a_decision(
    state: str, why: str, kind: type[StoreError]
) -> None:
    raised = psycopg.errors.lookup(state)("it said s3cret@X")
    error = faults.store_error(server_of(URL), "written", raised)
    assert type(error) is kind
    assert error.message.startswith("the state store state at db.example:6543 cannot be written: ")
    assert why in error.message and error.message.endswith("(it said [redacted])") and error.hint


def test_nothing_listens_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://me:{PASSWORD}@127.0.0.1:{taken.getsockname()[1]}/state"
        for act in (lambda: open_store(url), lambda: open_reader(url).history(APP, ENV)):
            refused(act, "nothing listens there")
    refused(
        lambda: open_store(f"postgresql://me:{PASSWORD}@no-such-host.invalid/state"), "its name is not known"
    )


@pytest.mark.world
def test_a_server_that_is_too_old(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr("backstay.adapters.store.server.connection.OLDEST_SERVER", 99)
    refused(lambda: open_store(url), "PostgreSQL 15 is too old, 99 is the oldest")


# ---- what a real server refuses


@contextmanager
def role(server: PostgresServer, words: str = "LOGIN") -> Iterator[str]:
    """The URL of a role that is no superuser, without a database."""
    server.query(f"CREATE ROLE clerk {words} PASSWORD 'clerks-own-word'")
    yield f"postgresql+psycopg://clerk:clerks-own-word@127.0.0.1:{server.port}/"
    server.query("DROP OWNED BY clerk; DROP ROLE clerk")


@pytest.mark.world
def test_who_may_not_come_in(server: PostgresServer, url: str) -> None:
    name = url.rpartition("/")[2]
    refused(lambda: open_store(url.replace(PASSWORD, "wrong")), "refused the password", "wrong@")
    refused(lambda: open_store(url.replace(f"{PASSWORD}@", "@")), "wants a password")
    refused(lambda: open_store(f"{url}x"), "the database does not exist")
    refused(lambda: open_reader(f"{url}x").history(APP, ENV), "the database does not exist")
    refused(lambda: open_store(f"{url}?sslmode=require"), "does not speak TLS")
    with role(server, "NOLOGIN") as other:
        refused(lambda: open_store(f"{other}{name}"), "may not log in", "clerks-own-word")


@pytest.mark.world
def test_who_may_make_no_tables_or_not_read_them(server: PostgresServer, url: str) -> None:
    name = url.rpartition("/")[2]
    with role(server) as other:
        error = refused(lambda: open_store(f"{other}{name}"), "made or upgraded: the role has no right")
        assert "GRANT" in (error.hint or "")
        assert open_reader(f"{other}{name}").history(APP, ENV) == []
        with open_store(url) as store:
            begun(store)
        refused(lambda: open_reader(f"{other}{name}").history(APP, ENV), "read: the role has no right")


@pytest.mark.world
def test_a_database_of_another_encoding(server: PostgresServer) -> None:
    server.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = server.url.removesuffix("/postgres") + "/latin"
    error = refused(lambda: open_store(url), "encoded in LATIN1")
    assert "ENCODING 'UTF8'" in (error.hint or "")
    server.drop_database("latin")


@pytest.mark.world
def test_a_server_whose_commits_do_not_outlive_a_power_cut(world: World) -> None:
    urls = world.create_database("unsafestore")
    refused(lambda: open_store(urls["host"]), "fsync = off", urls["password"])
    world.drop_database("unsafestore")


@pytest.mark.world
def test_a_standby_is_read_and_not_written_to(server: PostgresServer, url: str) -> None:
    with open_store(url) as store:
        begun(store)
    signal = server.data / "standby.signal"
    server.stop()
    signal.touch()
    server.start()
    try:
        error = refused(lambda: open_store(url), "it is a standby")
        assert "target_session_attrs=read-write" in (error.hint or "")
        with open_reader(url) as reader:
            assert [d.id for d in reader.history(APP, ENV)] == ["d1"]
    finally:
        signal.unlink()
        server.stop()
        server.start()
