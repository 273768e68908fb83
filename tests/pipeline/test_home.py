"""Several control hosts at one store: an environment lives on one of them, and no other starts a second router."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.adapters.store.file import FileDatabase
from backstay.domain.lease import Owner, Presence
from backstay.domain.step import StepState
from backstay.errors import UsageError
from backstay.pipeline.begin import Beginner
from backstay.pipeline.home import elsewhere, home_of
from backstay.pipeline.maintain import maintain
from backstay.pipeline.record import as_record
from backstay.pipeline.resolve import plan_deploy
from backstay.pipeline.status import status
from backstay.testing import FakeHost
from backstay.wiring import Look
from tests.pipeline.conftest import OWNER, Town

APP, ENV = "shop", "dev"


class Named(FakeHost):
    """One of several hosts."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def owner(self) -> Owner:
        return replace(OWNER, host=self.name)

    def presence(self, owner: Owner) -> Presence:
        return super().presence(owner) if owner.host == self.name else Presence.UNKNOWN


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileDatabase, "is_shared", True)


class Team:
    """A store, and hosts that begin deployments in it."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.begun: list[str] = []

    def beginner(self, host: str) -> Beginner:
        return Beginner(
            self.town.store, Named(host), self.town.clock, lambda lease, id_: self.begun.append(id_)
        )

    def begin(self, host: str, id_: str) -> None:
        """Begin a deployment, and leave it as its worker does when it dies at once."""
        application, store = self.town.application, self.town.store
        plan = plan_deploy(application, "v1", (), False, store, lambda image, version: "sha256:aa")
        self.beginner(host).start(
            id_, plan, application.environment, as_record(plan, "n", "backstay.yml", {})
        )

    def reach_the_router(self, id_: str) -> None:
        lease = self.town.store.lease(APP, ENV)
        assert lease is not None
        self.town.store.step(lease.token, id_, "router", StepState.STARTED)

    def free(self) -> None:
        lease = self.town.store.lease(APP, ENV)
        assert lease is not None
        self.town.store.release_lease(lease)


@pytest.fixture
def team(town: Town) -> Team:
    return Team(town)


def test_an_environment_that_never_had_a_router_is_anybodys(team: Team) -> None:
    team.begin("one", "d1")
    team.free()
    assert home_of(team.town.store, APP, ENV) is None
    team.begin("two", "d2")
    assert team.begun == ["d1", "d2"]


def test_where_the_router_is_there_is_home(team: Team) -> None:
    team.begin("one", "d1")
    team.reach_the_router("d1")
    team.free()
    assert home_of(team.town.store, APP, ENV) == "one"
    with pytest.raises(
        UsageError, match="dev of shop lives on control host one, where its router is; this is two"
    ) as told:
        team.begin("two", "d2")
    assert told.value.state == "nothing was changed" and "run this on one" in (told.value.hint or "")
    assert [d.id for d in team.town.store.history(APP, ENV)] == ["d1"]
    team.begin("one", "d2")
    assert team.begun == ["d1", "d2"]


def test_what_a_dead_worker_left_is_recovered_at_home(team: Team) -> None:
    team.begin("one", "d1")
    team.reach_the_router("d1")
    team.free()
    with pytest.raises(UsageError, match="lives on control host one"):
        team.beginner("two").recover(APP, ENV, lambda dead: None)
    assert team.town.store.lease(APP, ENV) is None
    team.beginner("one").recover(APP, ENV, lambda dead: None)
    assert team.begun == ["d1", "d1"]


def test_nobody_else_brings_it_into_order(team: Team) -> None:
    """Seen from elsewhere all of it is gone; who healed that would start a second router."""
    team.begin("one", "d1")
    team.reach_the_router("d1")
    team.free()
    with pytest.raises(UsageError, match="lives on control host one"):
        maintain(team.beginner("two"), APP, ENV, lambda environment: team.town.world)
    assert team.town.store.lease(APP, ENV) is None


def test_a_store_that_is_not_shared_may_have_its_host_renamed(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.begin("one", "d1")
    team.reach_the_router("d1")
    team.free()
    monkeypatch.setattr(FileDatabase, "is_shared", False)
    assert elsewhere(team.town.store, Named("two"), APP, ENV) is None
    team.begin("two", "d2")


def test_status_elsewhere_says_that_it_cannot_see(team: Team, town: Town) -> None:
    town.deploy("v1")
    team.begin("one", "d9")
    team.reach_the_router("d9")

    def drift(host: str) -> list[tuple[str, str, str]]:
        look = Look(town.store, town.engine, town.router, town.prober, Named(host), town.clock)
        return [(each["what"], each["expected"], each["found"]) for each in status(look, APP, ENV)["drift"]]

    assert drift("two") == [("control host", "one", "two")]
    assert drift("one") == []
