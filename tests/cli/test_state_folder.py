"""Where the state of an environment lies."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from backstay import wiring
from backstay.adapters.haproxy import HaproxyRouter
from backstay.domain.environment import Bind, Environment
from backstay.domain.policy import BUILT_IN, Level
from backstay.domain.wal import Continuous
from tests.cli.conftest import Backstay

WHERE = wiring.Place(Path("/h"), Path("/h/state.db"))
ALIKE = [("shop", "eu-prod"), ("shop-eu", "prod"), ("shop", "prod"), ("blog", "prod")]


def router_of(app: str, name: str) -> Path:
    router = wiring.router(WHERE, app, name)
    assert isinstance(router, HaproxyRouter)
    return router.folder


def wal_of(app: str, name: str) -> Path | None:
    settings = Environment(
        app, name, f"{app}-{name}", True, Bind("", 80), BUILT_IN[Level.BASIC], (1, 2), "",
        continuous=Continuous("REPLICATION_URL"),
    )  # fmt: skip
    return wiring.wal_folder(WHERE, settings)


def test_no_two_environments_share_a_folder_however_alike_their_names_are() -> None:
    folders = [of(app, name) for of, (app, name) in product((router_of, wal_of), ALIKE)]
    assert len(set(folders)) == len(folders) and None not in folders
    assert router_of("shop-eu", "prod") == Path("/h/router/shop-eu.prod")
    assert wal_of("shop-eu", "prod") == Path("/h/wal/shop-eu.prod")


WRITING = ["deploy dev --version v1", "lock acquire dev", "recover dev", "notify dev success all done"]


@pytest.mark.parametrize("line", WRITING)
def test_a_file_in_its_place_is_named_and_nothing_is_done(backstay: Backstay, home: Path, line: str) -> None:
    home.write_text("a file")
    done = backstay(*line.split())
    assert done.status == 20
    assert f"error: the state folder {home} cannot be used: it is no folder" in done.out + done.err
    assert "state: nothing was changed" in done.out + done.err
    assert f"next:  ls -ld {home}" in done.out + done.err


@pytest.mark.parametrize("line", WRITING)
def test_one_of_somebody_else_is_named_and_nothing_is_done(
    backstay: Backstay, home: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root's, mode 0700, is to everybody else; root itself may look into any."""
    home.mkdir(mode=0o700)

    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("backstay.wiring.os.listdir", refuse)
    done = backstay(*line.split())
    monkeypatch.undo()
    assert done.status == 20
    assert f"error: the state folder {home} cannot be used: Permission denied" in done.out + done.err
    assert "BACKSTAY_HOME" in done.out + done.err and list(home.iterdir()) == []
