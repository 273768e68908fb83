"""Schemas: made, upgraded with a copy kept, refused when newer; and no price paid when nothing is to do."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from backstay.adapters.store import open_reader, open_store
from backstay.adapters.store.engine import migrating_engine
from backstay.adapters.store.schema import MIGRATIONS, revisions
from backstay.adapters.store.tables import METADATA
from backstay.errors import StoreError
from tests.store import racing
from tests.store.later import NEXT
from tests.store.samples import APP, ENV, StillClock, begun, store_at
from tests.store.test_reader import crash_while_writing, trace


@pytest.fixture
def old(path: Path) -> Path:
    """A store of this Backstay, closed, with one deployment."""
    with store_at(path) as store:
        begun(store)
    return path


def notes(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT note FROM events")]


def test_a_new_store_is_private_and_complete(folder: Path) -> None:
    path = folder / "state" / "backstay" / "state.db"
    store_at(path).close()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {f.name: f.stat().st_mode & 0o777 for f in path.parent.iterdir()} == {
        "state.db": 0o600,
        "state.db.lock": 0o600,
    }


def test_the_files_beside_a_store_in_use_are_private_too(path: Path) -> None:
    with store_at(path) as store:
        begun(store)
        assert path.with_name("state.db-wal").stat().st_mode & 0o777 == 0o600
        assert path.with_name("state.db-shm").stat().st_mode & 0o777 == 0o600


def test_the_migrations_make_the_tables_the_program_uses(old: Path) -> None:
    with migrating_engine(old).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_the_names_of_the_migrations_tell_their_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    in_order = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(in_order)) == revisions()


def test_an_upgrade_keeps_everything_and_a_copy_from_before(old: Path, later: Path) -> None:
    before = open_reader(old).history(APP, ENV)
    with open_store(old, StillClock(), migrations=later) as store:
        assert store.history(APP, ENV) == before
        store.tell(1, "d1", "told", "after the upgrade")
    assert notes(old)[0] == "upgraded"
    copy = old.with_name(f"state.db.before-{NEXT}")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert open_reader(copy).history(APP, ENV) == before
    assert sorted(f.name for f in old.parent.iterdir() if f.is_file()) == [
        "state.db",
        f"state.db.before-{NEXT}",
        "state.db.lock",
    ]


def test_the_copy_holds_what_a_killed_writer_left_in_the_log(path: Path, later: Path) -> None:
    crash_while_writing(path)
    open_store(path, StillClock(), migrations=later).close()
    assert [d.id for d in open_reader(path.with_name(f"state.db.before-{NEXT}")).history(APP, ENV)] == ["d1"]


def test_four_processes_upgrade_at_once_and_one_does_it(old: Path, later: Path) -> None:
    assert racing.race(partial(racing.open_only, later), old, 4) == ["1 deployments"] * 4
    assert notes(old) == ["upgraded"]
    assert len(list(old.parent.glob("state.db.before-*"))) == 1


def test_a_failed_upgrade_leaves_the_store_as_it_was(old: Path, later: Path) -> None:
    script = later / "versions" / f"{NEXT}_later.py"
    script.write_text(script.read_text() + "    op.execute('NONSENSE')\n")
    with pytest.raises(StoreError, match=r"cannot be made or upgraded: .*NONSENSE"):
        open_store(old, StillClock(), migrations=later)
    with store_at(old) as store:
        assert len(store.history(APP, ENV)) == 1
    with closing(sqlite3.connect(old)) as database:
        assert "note" not in [row[1] for row in database.execute("PRAGMA table_info(events)")]


def test_a_reader_does_not_upgrade_and_names_the_commands_that_do(old: Path, later: Path) -> None:
    before = trace(old.parent)
    with pytest.raises(StoreError, match="older schema") as refused:
        open_reader(old, migrations=later).history(APP, ENV)
    assert "backstay deploy" in (refused.value.hint or "")
    assert "backstay rollback" in (refused.value.hint or "")
    assert trace(old.parent) == before


def test_a_newer_store_is_refused_and_left_alone(old: Path, later: Path) -> None:
    open_store(old, StillClock(), migrations=later).close()
    before = old.read_bytes()
    for attempt in (lambda: store_at(old), lambda: open_reader(old).history(APP, ENV)):
        with pytest.raises(StoreError, match=f"newer Backstay: it has schema {NEXT}") as refused:
            attempt()
        assert f"state.db.before-{NEXT}" in (refused.value.hint or "")
    assert old.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    for attempt in (lambda: store_at(path), lambda: open_reader(path).history(APP, ENV)):
        with pytest.raises(StoreError, match="not a state store of Backstay"):
            attempt()
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with store_at(path) as store:
        assert begun(store).token == 1


def test_a_log_without_its_store_is_not_mixed_into_a_new_one(path: Path) -> None:
    path.with_name("state.db-wal").write_bytes(b"somebody's last transactions")
    with pytest.raises(StoreError, match="is gone, but its log state"):
        store_at(path)
    assert not path.exists()


def test_a_store_that_lost_its_log_mode_gets_it_back(old: Path) -> None:
    with closing(sqlite3.connect(old)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    with store_at(old) as store:
        store.tell(1, "d1", "told", "hello")
        assert old.with_name("state.db-wal").stat().st_size > 0


def test_what_an_upgrade_that_died_left_behind_does_no_harm(path: Path) -> None:
    path.with_name("state.db.new").write_bytes(b"half")
    path.with_name("state.db.new-wal").write_bytes(b"half")
    with store_at(path) as store:
        assert begun(store).token == 1
    assert sorted(f.name for f in path.parent.iterdir()) == ["state.db", "state.db.lock"]


ORDINARY_USE = """
import sys
from pathlib import Path
from backstay.adapters.clock import SystemClock
from backstay.adapters.store import open_reader, open_store
from backstay.domain.lease import Owner
path = Path(sys.argv[1])
store = open_store(path, SystemClock())
lease = store.take_lease("shop", "uat", Owner("a", "b", 1, 2, "c"), "test", None)
store.release_lease(store.heartbeat(lease))
assert len(open_reader(path).history("shop", "prod")) == 1
store.close()
print(sorted(name for name in sys.modules if name.split(".")[0] in ("alembic", "mako")))
"""


def test_alembic_is_not_imported_when_the_schema_is_current(old: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", ORDINARY_USE, str(old)], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout == "[]\n"
