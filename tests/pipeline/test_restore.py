"""Stories of restores: a backup takes the place of the live database, or nothing at all happens to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.domain.content import Content, TableContent
from backstay.domain.deployment import DeploymentState
from backstay.domain.secret import Secret
from backstay.domain.smoke import Answer
from backstay.errors import UsageError
from backstay.ports.router import Hold
from tests.pipeline.conftest import Town

URL = Secret("postgresql://u:hunter2secret@db/shop")


@pytest.fixture
def backup(town: Town) -> str:
    """The backup that v1's deployment made; 7 rows were written since."""
    made = town.deploy("v1").backup
    assert made is not None
    town.database.write(URL, 7)
    return made


def rows(town: Town) -> int:
    return town.database.content(URL, 1).rows


def steps(town: Town, deployment: str) -> list[str]:
    return [step.name for step in town.store.steps(deployment)]


def test_a_restore_swaps_proves_and_keeps_what_was(town: Town, backup: str) -> None:
    old = set(town.engine.containers)
    ended = town.restore(backup, accept_loss=7)
    assert ended.state is DeploymentState.SUCCEEDED and ended.exit_status == 0
    assert rows(town) == 3
    assert town.clusters.beside == {"shop_before_d2": "before"} and town.clusters.shut == {"shop_before_d2"}
    assert town.serving == {"backend": "v1", "frontend": "v1"}
    assert not old & set(town.engine.containers), "the release starts anew, with sessions of its own"
    assert town.router.holds == [Hold.ALL, None]
    assert steps(town, ended.id) == [
        "snapshot", "router", "pull", "restore", "hold", "quiesce", "swap", "start", "stage", "health", "smoke",
        "switch", "public-smoke", "open", "retire",
    ]  # fmt: skip


@pytest.mark.parametrize("accepted", [None, 0, 6])
def test_more_than_was_accepted_is_refused_with_the_number_and_nobody_waits(
    town: Town, backup: str, accepted: int | None
) -> None:
    """Law 7."""
    ended = town.restore(backup, accepted)
    assert ended.exit_status == 30 and ended.failed_step == "restore"
    assert "7 rows" in (ended.reason or "") and "--accept-loss 7" in (ended.hint or "")
    assert rows(town) == 10 and town.clusters.beside == {} and town.router.holds == []
    assert town.serving == {"backend": "v1", "frontend": "v1"}


@pytest.mark.parametrize("counts", [True, False])
def test_what_is_written_until_the_hold_counts_too(town: Town, backup: str, counts: bool) -> None:
    """Also on a server that counts no writes, where nothing would show that there were any."""
    town.clusters.counts = counts
    hold = town.router.hold

    def written_meanwhile(mode: Hold, deadline_s: float, token: int) -> None:
        town.database.write(URL, 2)
        hold(mode, deadline_s, token)

    town.router.hold = written_meanwhile  # type: ignore[method-assign]
    ended = town.restore(backup, accept_loss=7)
    assert ended.exit_status == 30 and ended.failed_step == "swap"
    assert "9 rows" in (ended.reason or "")
    assert rows(town) == 12 and town.clusters.beside == {} and town.router.held is None
    assert town.serving == {"backend": "v1", "frontend": "v1"}
    assert all(c.running for c in town.engine.containers.values()), "what served before serves again"


def test_what_somebody_writes_at_the_last_moment_is_counted_again(town: Town, backup: str) -> None:
    town.clusters.late = 1
    refused = town.restore(backup, accept_loss=7)
    assert refused.exit_status == 30 and "8 rows" in (refused.reason or "")
    town.clusters.late = 1
    assert town.restore(backup, accept_loss=9).exit_status == 0
    assert rows(town) == 3


def test_with_nothing_written_since_no_number_is_needed(town: Town) -> None:
    made = town.deploy("v1").backup
    assert made is not None
    assert town.restore(made).exit_status == 0


def test_a_release_can_come_back_with_its_database(town: Town, backup: str) -> None:
    town.deploy("v2", maintenance=True)
    ended = town.restore(backup, accept_loss=7, version="v1")
    assert ended.exit_status == 0
    assert town.serving == {"backend": "v1", "frontend": "v1"} and rows(town) == 3
    assert town.deploy("v3").exit_status == 0
    town.rollback()
    assert town.serving == {"backend": "v1", "frontend": "v1"}, "v2 was left for good"


@pytest.mark.parametrize("trouble", ["health", "smoke", "public"])
def test_a_release_that_is_not_well_on_the_restored_database_gets_its_own_back(
    town: Town, backup: str, trouble: str
) -> None:
    known = town.engine.next_port
    if trouble == "health":
        town.prober.answer = lambda port, path: Answer(503 if port > known and path != "/" else 200)
    elif trouble == "smoke":
        town.prober.answer = lambda port, path: Answer(500 if port > known and "health" not in path else 200)
    else:
        town.prober.slot = lambda: "blue"
    ended = town.restore(backup, accept_loss=7)
    assert ended.exit_status == 30
    assert rows(town) == 10 and town.clusters.beside == {} and town.router.held is None
    assert town.serving == {"backend": "v1", "frontend": "v1"}


def test_a_restored_database_that_is_not_equal_is_never_swapped_in(town: Town, backup: str) -> None:
    row = next(each for each in town.store.backups("shop", "dev") if each.id == backup)
    restore = town.database.restore

    def cut_short(order):  # type: ignore[no-untyped-def]
        restore(order)
        town.database.holds[order.into.reveal()] = Content({"public.t": TableContent(1, "9")})

    town.database.restore = cut_short  # type: ignore[method-assign]
    ended = town.restore(row.id, accept_loss=1000)
    assert ended.exit_status == 30 and "is not what" in (ended.reason or "")
    assert rows(town) == 10 and town.clusters.beside == {} and town.router.holds == []


def test_a_damaged_backup_is_never_restored(town: Town, backup: str) -> None:
    row = next(each for each in town.store.backups("shop", "dev") if each.id == backup)
    town.database.damaged[Path(row.path)] = "its SHA-256 is another"
    ended = town.restore(backup, accept_loss=7)
    assert ended.exit_status == 30 and "SHA-256" in (ended.reason or "")
    assert rows(town) == 10 and town.clusters.beside == {}


def test_with_nothing_live_there_is_nothing_to_replace(town: Town) -> None:
    with pytest.raises(UsageError, match="nothing is live") as caught:
        town.restore("any")
    assert "--target" in (caught.value.hint or "")
