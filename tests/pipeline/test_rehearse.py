"""A release is tried on a copy first; what the copy says decides whether production is ever touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backstay.domain.backup import BackupState
from backstay.domain.deployment import Deployment, DeploymentState, Wish
from backstay.domain.policy import BUILT_IN, CheckSet, Level, Policy, Trial
from backstay.domain.rehearsal import Lint, Lock, Statement, Trace
from backstay.domain.smoke import Answer
from backstay.domain.step import StepState
from backstay.pipeline.rehearse import LABEL
from backstay.pipeline.stage import MARK, borrowed
from backstay.ports.engine import ContainerSpec
from backstay.testing.engine import FakeEngine
from tests.pipeline.conftest import Town

REHEARSING: Policy = replace(BUILT_IN[Level.BASIC], rehearsal=Trial.ALWAYS)
SCRATCH = "postgresql://backstay_scratch:scratchword@172.30.0.1:5999/shop"
ADD = Statement("ALTER TABLE orders ADD COLUMN n int", 0.5)


class Recording(FakeEngine):
    """Remembers every container that a rehearsal started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[ContainerSpec] = []

    def run(self, spec: ContainerSpec) -> Any:
        if spec.labels.get("backstay.role") == "rehearsal":
            self.started.append(spec)
        made = super().run(spec)
        if spec.labels.get("backstay.role") == "rehearsal" and not spec.name.endswith(tuple(_ONCE)):
            self.change(made.id, running=True, exit_code=None)
        found = self.inspect(made.id)
        assert found is not None
        return found


_ONCE = ("-migrate-backend", "-again-backend")


@pytest.fixture
def live(town: Town) -> Town:
    """v1 serves; from here on every deployment is rehearsed."""
    town.engine = Recording()
    assert town.deploy("v1").exit_status == 0
    town.policy = REHEARSING
    return town


def engine(town: Town) -> Recording:
    assert isinstance(town.engine, Recording)
    return town.engine


def answering(town: Town, role: str, path: str, answer: Answer) -> Callable[[int, str], Answer]:
    """Everything is well, except `path` of the rehearsed release in `role`."""

    def ask(port: int, asked: str) -> Answer:
        there = any(f"-{role}" in c.name for c in town.engine.containers.values())
        return answer if there and asked == path and port < 10000 else Answer(200, took_s=0.01)

    return ask


def result(town: Town, deployment: Deployment) -> Any:
    [record] = [step for step in town.store.steps(deployment.id) if step.name == "rehearse"]
    return record.result


def untouched(town: Town) -> None:
    """v1 serves, no migration ran in earnest, and nothing of the rehearsal is left."""
    assert town.serving == {"backend": "v1", "frontend": "v1"}
    assert [c for c in town.engine.containers.values() if c.labels.get("backstay.role")] == []
    assert "migrate" not in [step.name for step in town.store.steps(f"d{town.number}")]
    assert engine(town).networks({"backstay.role": "rehearsal"}) == []
    assert town.scratches.left == {}


def test_a_compatible_release_goes_on_and_the_journal_says_why(live: Town) -> None:
    live.scratches.traces = [Trace((ADD,), (Lock("public.orders", "AccessExclusiveLock", 2.0, ADD.sql),))]
    live.linter.finds["ADD COLUMN"] = Lint("rule", "words")
    ended = live.deploy("v2")
    assert ended.exit_status == 0
    assert live.serving["backend"] == "v2"
    found = result(live, ended)
    assert (found["verdict"], found["rollback_safe"], found["isolated"]) == ("compatible", True, True)
    assert found["backup"]["ok"]
    assert [each["sql"] for each in found["statements"]] == [ADD.sql]
    assert any("public.orders" in warning for warning in found["warnings"])
    [backup] = [b for b in live.store.backups("shop", "dev") if b.id == ended.backup]
    assert backup.state is BackupState.VERIFIED
    assert engine(live).networks({"backstay.role": "rehearsal"}) == []
    assert live.scratches.left == {}


def test_everything_runs_once_in_its_order_and_against_the_copy(live: Town) -> None:
    live.deploy("v2")
    started = engine(live).started
    names = [spec.name.partition("-")[2].partition("-")[2].partition("-")[2] for spec in started]
    assert names == [
        "migrate-backend", "again-backend", "new-backend", "new-frontend", "old-backend", "old-frontend",
    ]  # fmt: skip
    for spec in started:
        assert spec.env[MARK] == "1"
        assert spec.published is None
        assert spec.network.endswith("-net")
        assert not spec.restarts
        for name, secret in spec.secrets.items():
            assert secret.reveal() == {"DATABASE_URL": SCRATCH, "KEY": "k-123456"}[name]
    assert "lock_timeout" in started[0].env["PGOPTIONS"]
    assert {spec.labels[LABEL] for spec in started} == {started[0].network.removesuffix("-net")}
    assert (started[2].image, started[4].image) == tuple(
        engine(live).pull("reg/shop-backend", v, engine(live).digest("reg/shop-backend", v, None), None)
        for v in ("v2", "v1")
    )


@pytest.mark.parametrize(
    ("role", "said"), [("migrate", "the migration of"), ("again", "run a second time, the")]
)
def test_a_migration_that_fails_on_the_copy_never_runs_in_earnest(live: Town, role: str, said: str) -> None:
    live.engine.exit_codes[f"-{role}-backend"] = 1
    ended = live.deploy("v2")
    assert (ended.exit_status, ended.state, ended.failed_step) == (30, DeploymentState.FAILED, "rehearse")
    assert ended.reason is not None
    assert ended.reason.startswith(f"the rehearsal of v2 is failed: {said}")
    assert "backstay rehearse" in str(ended.hint)
    untouched(live)


def test_a_new_release_that_is_not_healthy_on_the_copy_is_refused(live: Town) -> None:
    live.prober.answer = answering(live, "new", "/api/health/", Answer(503))
    ended = live.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (30, "rehearse")
    assert "the new release fails on the migrated copy: backend health: /api/health/ answered 503" in str(
        ended.reason
    )
    untouched(live)


def test_what_the_old_release_cannot_live_with_is_breaking(live: Town) -> None:
    live.prober.answer = answering(live, "old-backend", "/api/health/", Answer(500))
    ended = live.deploy("v2")
    assert ended.exit_status == 30
    assert str(ended.reason).startswith("the rehearsal of v2 is breaking: the old release fails")
    assert "--maintenance" in str(ended.hint)
    [server] = live.scratches.servers
    assert server.went_back  # what was kept told that it was the migration
    untouched(live)


def test_what_cannot_be_kept_is_restored_again(live: Town) -> None:
    live.scratches.keeps = ""
    live.prober.answer = answering(live, "old-backend", "/api/health/", Answer(500))
    assert live.deploy("v2").exit_status == 30
    assert [s.order.name[-2:] for s in live.scratches.servers] == ["-a", "-b"]
    assert len(live.database.restores) == 2
    untouched(live)


def test_an_old_release_that_does_not_run_here_at_all_breaks_nothing(live: Town) -> None:
    def ask(port: int, path: str) -> Answer:
        old = any("-old" in c.name for c in live.engine.containers.values())
        return Answer(503) if old and port < 10000 and path == "/api/health/" else Answer(200, took_s=0.01)

    live.prober.answer = ask
    ended = live.deploy("v2")
    assert ended.exit_status == 0
    assert any("says nothing" in warning for warning in result(live, ended)["warnings"])


def test_a_lock_that_visitors_wait_too_long_for_is_breaking(live: Town) -> None:
    live.scratches.traces = [Trace((ADD,), (Lock("public.orders", "AccessExclusiveLock", 11.0, ADD.sql),))]
    ended = live.deploy("v2")
    assert ended.exit_status == 30
    assert "readers and writers of public.orders wait 11.0 s" in str(ended.reason)
    untouched(live)


FAX = ({"public.orders": {"id": False, "fax": False}}, {"public.orders": {"id": False}})


def test_what_is_gone_is_breaking_although_no_smoke_test_misses_it(live: Town) -> None:
    live.scratches.tables = [*FAX]
    ended = live.deploy("v2")
    assert ended.exit_status == 30
    assert "public.orders.fax is gone after the migration" in str(ended.reason)
    assert "--unused public.orders.fax, if the old release does not use it" in str(ended.hint)
    untouched(live)


def test_a_person_may_vouch_that_the_old_release_does_not_use_it(live: Town) -> None:
    live.scratches.tables = [*FAX]
    ended = live.deploy("v2", unused=("orders.fax",))
    assert ended.exit_status == 0
    found = result(live, ended)
    assert (found["verdict"], found["gone"], found["unused"]) == (
        "compatible",
        ["public.orders.fax"],
        ["orders.fax"],
    )


def test_what_was_vouched_for_stays_in_the_command_that_is_told(live: Town) -> None:
    live.scratches.tables = [{"public.orders": {"id": False, "fax": False, "telex": False}}, FAX[1]]
    ended = live.deploy("v2", unused=("orders.fax",))
    assert ended.exit_status == 30
    assert "--unused orders.fax --unused public.orders.telex, if the old release does not use it" in str(
        ended.hint
    )
    untouched(live)


def test_the_first_release_and_the_same_again_take_nothing_from_anybody(town: Town) -> None:
    town.engine, town.policy = Recording(), REHEARSING
    for _ in range(2):
        town.scratches.tables = [*FAX]
        assert town.deploy("v1").exit_status == 0
        assert len(town.scratches.tables) == 2


def test_a_damaged_backup_stops_before_anything_is_tried(live: Town) -> None:
    make = live.database.dump

    def damaged(order: Any) -> Any:
        made = make(order)
        live.database.damaged[made.path] = "cut short"
        return made

    live.database.dump = damaged  # type: ignore[method-assign]
    ended = live.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (30, "rehearse")
    assert "is damaged: cut short" in str(ended.reason)
    assert engine(live).started == []
    untouched(live)


@pytest.mark.parametrize(
    ("rehearsal", "verify", "steps"),
    [(Trial.OFF, Trial.OFF, False), (Trial.OFF, Trial.MIGRATION, True), (Trial.MIGRATION, Trial.OFF, True)],
)
def test_the_policy_says_whether_anything_is_restored(
    live: Town, rehearsal: Trial, verify: Trial, steps: bool
) -> None:
    live.policy = replace(REHEARSING, rehearsal=rehearsal, verify=verify)
    ended = live.deploy("v2")
    assert ended.exit_status == 0
    names = [step.name for step in live.store.steps(ended.id)]
    assert ("rehearse" in names) == steps
    if steps:
        assert names.index("backup") < names.index("rehearse") < names.index("migrate")
        assert live.store.backups("shop", "dev")[0].state is BackupState.VERIFIED
    assert bool(engine(live).started) == (rehearsal is not Trial.OFF)


def test_law_6_no_migration_before_the_backup_was_restored(live: Town) -> None:
    live.policy = replace(BUILT_IN[Level.STANDARD], rehearsal=Trial.OFF, checks=CheckSet.BASIC)
    live.scratches.fault = "none is installed here"
    ended = live.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (30, "rehearse")
    untouched(live)


def test_the_first_release_is_rehearsed_too(town: Town) -> None:
    town.engine = Recording()
    town.policy = REHEARSING
    assert town.deploy("v1").exit_status == 0
    assert not any("-old-" in spec.name for spec in engine(town).started)


def test_who_asks_for_the_end_gets_it_in_the_middle(live: Town) -> None:
    def ask(_: float) -> None:
        live.store.ask(f"d{live.number}", Wish.ABORT)

    live.clock.on_tick = ask
    live.prober.answer = answering(live, "new", "/api/health/", Answer(503))
    ended = live.deploy("v2")
    assert (ended.exit_status, ended.state) == (130, DeploymentState.ABORTED)
    untouched(live)


def test_where_nothing_isolates_that_is_said(live: Town) -> None:
    live.engine.isolates = False
    ended = live.deploy("v2")
    assert ended.exit_status == 0
    found = result(live, ended)
    assert not found["isolated"]
    assert any("not isolated" in note for note in found["notes"])
    assert all(spec.published for spec in engine(live).started if "-new-" in spec.name)


def test_every_copy_is_cut_off_and_a_way_out_that_stays_is_told(live: Town) -> None:
    live.scratches.ways_out = ("extension dblink",)
    live.scratches.keeps = ""  # so that there is a second copy
    live.prober.answer = answering(live, "old", "/api/health/", Answer(503))
    ended = live.deploy("v2")
    found = result(live, ended)
    assert not found["isolated"]
    assert any("not isolated" in note and "extension dblink" in note for note in found["notes"])
    assert len(live.scratches.servers) == 2
    assert all(server.cut for server in live.scratches.servers)


def test_what_a_dead_owner_left_goes_and_what_lives_stays(live: Town) -> None:
    labels = {"backstay.app": "shop", "backstay.environment": "dev", "backstay.role": "rehearsal"}
    for name in ("shop-dev-dead", "shop-dev-lives"):
        live.engine.network(f"{name}-net", True, labels)
        live.engine.run(
            ContainerSpec(f"{name}-new-backend", "i", f"{name}-net", {**labels, LABEL: name}, restarts=False)
        )
    from backstay.ports.scratch import ScratchOrder

    live.scratches.left["shop-dev-lives"] = ScratchOrder("shop", "dev", "shop-dev-lives", 15)
    live.policy = BUILT_IN[Level.BASIC]
    assert live.deploy("v2").exit_status == 0  # sweeps first, and retires what no slot refers to in the end
    assert {c.labels[LABEL] for c in live.engine.find(labels)} == {"shop-dev-lives"}
    assert live.engine.networks(labels) == ["shop-dev-lives-net"]


def test_no_secret_is_in_what_a_rehearsal_tells(live: Town) -> None:
    live.engine.exit_codes["-migrate-backend"] = 1
    live.engine.output = ["cannot reach postgresql://u:hunter2secret@db/shop", "scratchword and k-123456"]
    live.scratches.traces = [Trace((Statement("ALTER ROLE u PASSWORD 'k-123456'"),))]
    ended = live.deploy("v2")
    told = repr([(e.message, e.data) for e in live.store.events(ended.id)]) + str(ended.reason)
    assert "hunter2secret" not in told
    assert "k-123456" not in told
    assert "scratchword" not in told


def test_death_in_the_middle_is_swept_by_the_recovery(live: Town) -> None:
    from backstay.pipeline.resolve import plan_deploy
    from backstay.pipeline.steps.rehearse import RehearseStep

    plan = plan_deploy(
        live.application, "v2", (), False, live.store, lambda i, v: live.engine.digest(i, v, None)
    )
    run, _ = live.begin(plan)
    step = RehearseStep()
    live.store.step(run.token, run.id, step.name, StepState.STARTED)
    labels = {**run.labels(), "backstay.role": "rehearsal", LABEL: "shop-dev-dead"}
    live.engine.network("shop-dev-dead-net", True, labels)
    live.engine.run(
        ContainerSpec("shop-dev-dead-new-backend", "i", "shop-dev-dead-net", labels, restarts=False)
    )
    [record] = [each for each in live.store.steps(run.id) if each.name == "rehearse"]
    step.undo(run, record)
    step.undo(run, record)
    assert live.engine.find({LABEL: "shop-dev-dead"}) == []
    assert live.engine.networks({"backstay.role": "rehearsal"}) == []


def test_live_volumes_stay_out_of_it() -> None:
    assert borrowed(("media:/srv/media", "/etc/shop:/etc/shop", "/x:/y:ro", "cache:/c:ro")) == (
        "/etc/shop:/etc/shop:ro", "/x:/y:ro",
    )  # fmt: skip
