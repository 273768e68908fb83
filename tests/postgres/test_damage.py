"""Damage to what lies on the disk: every flipped bit and every cut is found, named, and never restored.

The servers are real; the damage is done to files, so that hundreds of cases take seconds.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from backstay.adapters.postgres import PostgresTools, proof
from backstay.adapters.postgres import base as base_module
from backstay.adapters.postgres.manifest import bare_name
from backstay.adapters.postgres.tools import find_tool_of
from backstay.domain.backup import BackupKind
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import Damaged, Dump, DumpOrder, RestoreOrder
from tests.postgres.conftest import tool
from tests.postgres.server import Server
from tests.world import World

pytestmark = pytest.mark.world
TOOLS = PostgresTools()
IDENTITY = pyrage.x25519.Identity.generate()
TRIALS = 40
KINDS = {
    "logical": (BackupKind.LOGICAL, ()),
    "logical, encrypted": (BackupKind.LOGICAL, (str(IDENTITY.to_public()),)),
    "physical": (BackupKind.PHYSICAL, ()),
    "physical, encrypted": (BackupKind.PHYSICAL, (str(IDENTITY.to_public()),)),
}
NOWHERE = Secret("postgresql://u:p@127.0.0.1:1/nothing")
ROWS = "CREATE TABLE t AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 3000) n"


@pytest.fixture(scope="module")
def source(world: World) -> Iterator[Server]:
    with Server(world.postgres, connections=12, senders=4) as made:
        made.query(ROWS)
        yield made


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, source: Server, tmp_path_factory: pytest.TempPathFactory) -> Dump:
    kind, recipients = KINDS[request.param]
    folder = tmp_path_factory.mktemp("whole")
    return TOOLS.dump(DumpOrder(Secret(source.url), folder, "x", kind=kind, recipients=recipients))


@pytest.fixture
def dump(made: Dump, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(made.path.parent, tmp_path / "b")
    return tmp_path / "b" / made.path.name


def files(dump: Path) -> list[Path]:
    """Everything that a backup consists of."""
    return sorted(path for path in dump.parent.rglob("*") if path.is_file())


def refused(dump: Path, made: Dump, tmp_path: Path, named: Path | None = None) -> None:
    """It is damaged for every way in, which says so before anything is written or even connected to."""
    identity = Secret(str(IDENTITY))
    ways: list[Callable[[], object]] = [lambda: TOOLS.examine(dump, made.sha256)]
    if made.kind is BackupKind.LOGICAL:
        ways.append(lambda: TOOLS.restore(RestoreOrder(dump, NOWHERE, sha256=made.sha256, identity=identity)))
    else:
        ways.append(lambda: TOOLS.unpack(dump, tmp_path / "data", identity, sha256=made.sha256))
    for way in ways:
        with pytest.raises(Damaged) as told:
            way()
        assert told.value.hint and bare_name(dump) in told.value.message
        assert named is None or str(named) in told.value.message
    assert not (tmp_path / "data").exists()


def test_an_undamaged_one_passes(dump: Path, made: Dump) -> None:
    TOOLS.examine(dump, made.sha256)
    if made.encrypted:
        assert all(b"CREATE ROLE" not in path.read_bytes() for path in files(dump))


def test_one_flipped_bit_anywhere(dump: Path, made: Dump, tmp_path: Path) -> None:
    chance = random.Random(20261123)
    paths = files(dump)
    for number in range(2 * TRIALS):
        # Half of them in the largest file, the others in any, the manifest too.
        path = max(paths, key=lambda each: each.stat().st_size) if number % 2 else chance.choice(paths)
        whole = path.read_bytes()
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        refused(dump, made, tmp_path, path)
        path.write_bytes(whole)
    TOOLS.examine(dump, made.sha256)


def test_cut_short_anywhere(dump: Path, made: Dump, tmp_path: Path) -> None:
    chance = random.Random(20261124)
    for number in range(TRIALS):
        path = chance.choice(files(dump))
        whole = path.read_bytes()
        path.write_bytes(whole[: 0 if number == 0 else chance.randrange(len(whole))])
        refused(dump, made, tmp_path, path)
        path.write_bytes(whole)


def test_longer_than_it_was(dump: Path, made: Dump, tmp_path: Path) -> None:
    for path in files(dump):
        whole = path.read_bytes()
        path.write_bytes(whole + b"\0")
        refused(dump, made, tmp_path, path)
        path.write_bytes(whole)


def test_any_file_missing(dump: Path, made: Dump, tmp_path: Path) -> None:
    for path in files(dump):
        away = path.rename(tmp_path / "away")
        refused(dump, made, tmp_path, path)
        away.rename(path)


def test_files_of_another_backup_in_its_place(source: Server, dump: Path, made: Dump, tmp_path: Path) -> None:
    kind = made.kind
    recipients = (str(IDENTITY.to_public()),) if made.encrypted else ()
    source.query("CREATE TABLE IF NOT EXISTS more AS SELECT 1 AS n; INSERT INTO more VALUES (2)")
    other = TOOLS.dump(DumpOrder(Secret(source.url), tmp_path / "o", "x", kind=kind, recipients=recipients))
    theirs = dict(zip(files(dump), files(other.path), strict=True))
    # One file at a time; the globals may be the same to the byte.
    for mine, their in theirs.items():
        if mine.read_bytes() == their.read_bytes():
            continue
        whole = mine.read_bytes()
        mine.write_bytes(their.read_bytes())
        refused(dump, made, tmp_path)
        mine.write_bytes(whole)
    # All of them, manifest included: whole in itself, but not what the catalog knows under that name.
    for mine, their in theirs.items():
        mine.write_bytes(their.read_bytes())
    refused(dump, made, tmp_path, dump.with_name("x.manifest.json"))
    TOOLS.examine(dump)


def test_a_manifest_of_another_name_is_none(dump: Path, made: Dump, tmp_path: Path) -> None:
    """A stale one, say, of a backup that was made anew under the name."""
    dump.with_name("x.manifest.json").rename(dump.with_name("y.manifest.json"))
    renamed = dump.rename(dump.with_name(dump.name.replace("x.", "y.", 1)))
    with pytest.raises(Damaged, match="is the manifest of another backup, x"):
        TOOLS.examine(renamed, made.sha256)


class TestACheckerThatLies:
    """pg_verifybackup decides over a physical backup. One that calls everything good is found out first."""

    def test_it_is_put_to_the_test_before_it_is_believed(
        self, source: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = TOOLS.dump(DumpOrder(Secret(source.url), tmp_path / "b", "x", kind=BackupKind.PHYSICAL))
        liar = tool(tmp_path / "bin", "exit 0", "pg_verifybackup")
        monkeypatch.setattr(base_module, "find_tool_of", lambda name, major: str(liar))
        with pytest.raises(DatabaseError, match="calls a damaged backup good"):
            TOOLS.unpack(made.path, tmp_path / "data")
        assert not (tmp_path / "data").exists()

    def test_one_that_refuses_everything_is_no_checker_either(self, tmp_path: Path) -> None:
        with pytest.raises(DatabaseError, match="calls a whole backup damaged"):
            proof.prove(str(tool(tmp_path / "bin", "exit 1", "pg_verifybackup")))

    def test_the_real_one_passes(self, world: World) -> None:
        proof.prove(find_tool_of("pg_verifybackup", 15))


def test_damage_from_before_our_hashes_is_found_by_the_servers_list(source: Server, tmp_path: Path) -> None:
    """Bits that turned on the way from the server to the disk: our own hashes are of them, and fit."""
    made = TOOLS.dump(DumpOrder(Secret(source.url), tmp_path / "b", "x", kind=BackupKind.PHYSICAL))
    data = tmp_path / "data"
    TOOLS.unpack(made.path, data)
    victim = max((data / "base").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:5000] + bytes([whole[5000] ^ 4]) + whole[5001:])
    with pytest.raises(Damaged, match=r"x\.base is damaged: .*checksum mismatch for file"):
        proof.verify(find_tool_of("pg_verifybackup", 15), data, made.path)


class TestCheckersThatShareTheWork:
    FILES = (("base/1/a", 50 << 20), ("base/1/b", 40 << 20), ("base/1/c", 30 << 20), ("global/small", 8192))

    @pytest.mark.parametrize("checkers", [1, 2, 3, 4])
    def test_each_large_file_is_read_by_one_and_each_small_one_by_all(self, checkers: int) -> None:
        ignored = proof.left_to_others(self.FILES, checkers)
        for path, size in self.FILES:
            readers = sum(path not in others for others in ignored)
            assert readers == (1 if size >= proof.LARGE else checkers)

    def test_each_has_about_as_much_to_do(self) -> None:
        first, second = proof.left_to_others(self.FILES, 2)
        assert (set(first), set(second)) == ({"base/1/b", "base/1/c"}, {"base/1/a"})

    def test_a_bit_in_any_file_is_found(
        self, source: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proof, "LARGE", 1)
        made = TOOLS.dump(DumpOrder(Secret(source.url), tmp_path / "b", "x", kind=BackupKind.PHYSICAL))
        data, checker = tmp_path / "data", find_tool_of("pg_verifybackup", 15)
        TOOLS.unpack(made.path, data)
        files = sorted(path for path in (data / "base").rglob("*") if path.is_file() and path.stat().st_size)
        for victim in files[:: len(files) // 12]:
            whole = victim.read_bytes()
            victim.write_bytes(bytes([whole[0] ^ 4]) + whole[1:])
            with pytest.raises(Damaged, match=f"checksum mismatch for file .*{victim.name}"):
                proof.verify(checker, data, made.path)
            victim.write_bytes(whole)
        proof.verify(checker, data, made.path)
