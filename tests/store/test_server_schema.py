"""Schemas on a server: made and upgraded as a whole, refused when newer or somebody else's, left alone by readers."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from backstay.adapters.store import open_reader, open_store
from backstay.adapters.store.server.address import server_of
from backstay.adapters.store.server.engine import writing_engine
from backstay.adapters.store.tables import METADATA
from backstay.domain.deployment import Wish
from backstay.errors import StoreError
from tests.store import racing
from tests.store.later import NEXT
from tests.store.samples import APP, ENV, StillClock, begun, store_at
from tests.store.test_reader import ask_everything
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


@pytest.fixture
def old(url: str) -> str:
    """A store of this Backstay, closed, with one deployment."""
    with store_at(url) as store:
        begun(store)
    counted(url)
    return url


def counted(url: str) -> None:
    """Returns when the server has counted all that was written: at the latest when a session ends, which is a moment
    after it was closed."""
    others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert wait_until(lambda: ask(url, others) == [], 20)


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        answer = connection.execute(query.encode())
        return answer.fetchall() if answer.description else []


def trace(url: str) -> list[tuple[Any, ...]]:
    """All objects of the database, and how much was ever written into its tables."""
    counted = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
    return [*ask(url, "SELECT oid, relname, relfilenode FROM pg_class ORDER BY 1"), *ask(url, counted)]


def test_the_migrations_make_the_tables_the_program_uses(old: str) -> None:
    engine = writing_engine(server_of(old))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_an_upgrade_keeps_everything(old: str, later: Path) -> None:
    before = open_reader(old).history(APP, ENV)
    with open_store(old, StillClock(), migrations=later) as store:
        assert store.history(APP, ENV) == before
        store.tell(1, "d1", "told", "after the upgrade")
    assert ask(old, "SELECT note FROM events ORDER BY seq") == [("upgraded",), (None,)]


def test_four_processes_upgrade_at_once_and_one_does_it(old: str, later: Path) -> None:
    assert racing.race(partial(racing.open_only, later), old, 4) == ["1 deployments"] * 4
    assert ask(old, "SELECT note FROM events") == [("upgraded",)]
    assert ask(old, "SELECT version_num FROM alembic_version") == [(NEXT,)]


def test_a_failed_upgrade_leaves_the_store_as_it_was(old: str, later: Path) -> None:
    script = later / "versions" / f"{NEXT}_later.py"
    script.write_text(script.read_text() + "    op.execute('NONSENSE')\n")
    with pytest.raises(StoreError, match=r"cannot be made or upgraded: .*NONSENSE"):
        open_store(old, StillClock(), migrations=later)
    with store_at(old) as store:
        assert len(store.history(APP, ENV)) == 1
    assert ask(old, "SELECT FROM information_schema.columns WHERE column_name = 'note'") == []


def test_a_reader_does_not_upgrade_and_names_the_commands_that_do(old: str, later: Path) -> None:
    before = trace(old)
    with pytest.raises(StoreError, match="older schema") as refused:
        open_reader(old, migrations=later).history(APP, ENV)
    assert "`backstay deploy` or `backstay rollback` upgrades it" in (refused.value.hint or "")
    assert trace(old) == before


def test_a_newer_store_is_refused_and_left_alone(old: str, later: Path) -> None:
    open_store(old, StillClock(), migrations=later).close()
    counted(old)
    before = trace(old)
    for attempt in (lambda: store_at(old), lambda: open_reader(old).history(APP, ENV)):
        with pytest.raises(StoreError, match=f"newer Backstay: it has schema {NEXT}"):
            attempt()
    assert trace(old) == before


@pytest.mark.parametrize(
    "theirs", ["CREATE TABLE recipes (name text)", "CREATE TABLE alembic_version (version_num text)"]
)
def test_another_programs_database_is_refused_and_left_alone(url: str, theirs: str) -> None:
    """Even one that keeps its own revisions under alembic's usual name, with a number like one of ours."""
    ask(url, theirs)
    if "alembic" in theirs:
        ask(url, "INSERT INTO alembic_version VALUES ('0001')")
    counted(url)
    before = trace(url)
    for attempt in (lambda: store_at(url), lambda: open_reader(url).history(APP, ENV)):
        with pytest.raises(StoreError, match="not a state store of Backstay") as refused:
            attempt()
        assert "database" in (refused.value.hint or "")
    assert trace(url) == before


def test_two_stores_live_in_two_schemas_of_one_database(url: str) -> None:
    ask(url, "CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE recipes (name text)")
    places = [f"{url}?options=-csearch_path%3D{name}" for name in ("one", "two")]
    for number, place in enumerate(places):
        with store_at(place) as store:
            begun(store, f"d{number}")
    for number, place in enumerate(places):
        assert [d.id for d in open_reader(place).history(APP, ENV)] == [f"d{number}"]
    with pytest.raises(StoreError, match="search_path names no schema"):
        store_at(f"{url}?options=-csearch_path%3Dthree")


def test_a_reader_of_no_store_finds_nothing_and_makes_nothing(url: str) -> None:
    before = trace(url)
    with open_reader(url) as reader:
        assert reader.history(APP, ENV) == []
        assert reader.lease(APP, ENV) is None
        with store_at(url) as store:
            begun(store)
        ask_everything(reader)
    assert before != trace(url)


def test_a_reader_leaves_no_trace_and_could_not(old: str) -> None:
    before = trace(old)
    with open_reader(old) as reader:
        ask_everything(reader)
        with pytest.raises(StoreError, match="accepts no writes"):
            reader._source.patience_s = 0.0  # type: ignore[attr-defined]
            reader._source.rows("DELETE FROM events RETURNING seq", {})
    assert trace(old) == before


def test_a_reader_sees_what_was_written_after_it_opened(old: str) -> None:
    with open_reader(old) as reader, store_at(old) as store:
        assert reader.wish("d1") is None
        store.ask("d1", Wish.ABORT)
        assert reader.wish("d1") is Wish.ABORT


READING = """
import sys
from backstay.adapters.store import open_reader
assert len(open_reader(sys.argv[1]).history("shop", "prod")) == 1
print(sorted(name for name in ("alembic", "mako", "sqlalchemy") if name in sys.modules))
"""
WRITING = """
import sys
from backstay.adapters.store import open_store
open_store(sys.argv[1]).close()
print(sorted(name for name in ("alembic", "mako") if name in sys.modules))
"""


@pytest.mark.parametrize("program", [READING, WRITING])
def test_nothing_is_imported_that_is_not_needed(old: str, program: str) -> None:
    """A reader that nobody closes says nothing at the end, not even that."""
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, old],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert (said.stdout, said.stderr) == ("[]\n", "")
