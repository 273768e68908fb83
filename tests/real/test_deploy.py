"""A deploy on real parts: engine, registry, HAProxy, PostgreSQL, under the strict load client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.real.workers import until_no_worker_runs
from tests.shop import Shop

pytestmark = pytest.mark.world

V1 = {"backend": "v1", "frontend": "v1"}
V2 = {"backend": "v2", "frontend": "v2"}


def test_v1_to_v2_with_a_migration_under_load_fails_nothing(shop: Shop) -> None:
    assert shop.deploy("v1").status == 0
    with shop.load(slow_path="/api/v1/slow/?ms=2000") as load:
        load.until(lambda seen: seen.requests > 30)
        answer = shop.deploy("v2")
        moved = load.now()
        time.sleep(0.5)
        report = load.stop()
    assert (answer.status, answer.last["state"]) == (0, "succeeded")
    assert report.failed == 0, report.failures[:5]
    assert report.bad_answers == {}
    assert {"v1", "v2"} <= set(report.by_release)
    assert report.sent_after(moved, "v1") == []
    assert all(counts.requests > 0 for counts in report.by_kind.values())
    assert shop.serving() == V2
    assert shop.orders() >= len([r for r in report.records if r.kind == "post" and r.outcome == "ok"])
    assert answer.last["backup"] and answer.last["switch_s"] < 1


def test_the_document_and_status_say_what_the_contract_says(shop: Shop) -> None:
    answer = shop.deploy("v1")
    document = answer.last
    assert {"deployment", "environment", "state", "release", "previous", "failed_step", "reason", "hint", "switch_s",
            "rollback_s", "total_s", "steps", "backup", "incident"} <= set(document)  # fmt: skip
    assert all(
        {"seq", "at", "deployment", "kind", "step", "message", "data"} <= set(e) for e in answer.lines[:-1]
    )
    status = shop.status()
    assert status["weights"] == {"blue": 100, "green": 0}
    assert (status["lock"], status["deployment"], status["drift"]) == (None, None, [])
    assert status["live"]["components"]["backend"]["image"].startswith(
        f"{shop.world.registry.address}/shop-backend:v1@sha256:"
    )
    assert all(c["healthy"] and c["restarts"] == 0 for c in status["live"]["components"].values())
    assert status["last_backup"]["state"] == "unverified"


def test_a_version_that_never_becomes_healthy_is_refused_and_nothing_is_left(shop: Shop) -> None:
    assert shop.deploy("v2").status == 0
    before = set(shop.containers())
    with shop.load(slow=0) as load:
        load.until(lambda seen: seen.requests > 20)
        answer = shop.deploy("v3")
        report = load.stop()
    assert (answer.status, answer.last["failed_step"]) == (20, "health")
    assert "503" in answer.last["reason"]
    assert report.failed == 0 and set(report.by_release) == {"v2"}
    assert set(shop.containers()) == before
    assert shop.serving() == V2


def test_a_release_that_turns_bad_under_traffic_reverses_itself(shop: Shop) -> None:
    assert shop.deploy("v2").status == 0
    shop.configure(bake="30s")
    with shop.load() as load:
        load.until(lambda seen: seen.requests > 30)
        answer = shop.deploy("v4")
        flipped = load.now()
        time.sleep(0.5)
        report = load.stop()
    assert (answer.status, answer.last["state"]) == (20, "rolled_back")
    # One answer in five is bad, so the public smoke test may meet one before the bake has counted enough of them.
    assert "5xx" in answer.last["reason"] or "answered 500" in answer.last["reason"]
    assert answer.last["rollback_s"] < 1
    assert report.failed == 0, report.failures[:5]
    assert set(report.bad_answers) == {"v4"} and report.bad_answers["v4"] > 0
    assert report.sent_after(flipped, "v4") == []
    assert shop.serving() == V2
    assert shop.deploy("v4").status == 12


def test_a_release_that_dies_after_five_seconds_is_reversed(shop: Shop) -> None:
    shop.configure(bake="2s")
    assert shop.deploy("v2").status == 0
    shop.configure(bake="6s")
    answer = shop.deploy("v5")
    assert (answer.status, answer.last["state"]) == (20, "rolled_back")
    assert shop.serving() == V2


def test_a_slow_release_is_caught_by_the_smoke_test_and_without_one_by_the_bake(shop: Shop) -> None:
    shop.configure(bake="2s")
    assert shop.deploy("v2").status == 0
    answer = shop.deploy("v6")
    assert (answer.status, answer.last["failed_step"]) == (20, "smoke")
    shop.configure(under="", bake="40s")
    with shop.load(keep_alive=12, slow=0, websockets=0) as load:
        load.until(lambda seen: seen.requests > 100)
        answer = shop.deploy("v6")
        report = load.stop()
    assert (answer.status, answer.last["state"]) == (20, "rolled_back")
    assert "longer than 2 s" in answer.last["reason"]
    assert report.failed == 0, report.failures[:5]
    assert shop.serving() == V2


def test_a_version_the_registry_lacks_changes_nothing_at_all(shop: Shop) -> None:
    answer = shop.deploy("v99")
    assert answer.status == 10
    assert "v99" in answer.last["reason"]
    assert shop.containers() == []
    assert shop.status()["live"] is None


def test_a_killed_client_harms_nothing_and_attach_follows(shop: Shop) -> None:
    client = shop.start("deploy", "dev", "--version", "v1")
    while not shop.history():
        time.sleep(0.05)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    attached = shop.run("attach", "dev", "--json")
    assert attached.status == 0
    assert attached.last["state"] == "succeeded"
    assert shop.serving() == V1


def test_ctrl_c_aborts_safely(shop: Shop) -> None:
    assert shop.deploy("v1").status == 0
    before = set(shop.containers())
    shop.configure(deadline="60s")
    client = shop.start("deploy", "dev", "--version", "v3")
    shop.until("running")
    while not any(s["name"] == "health" for s in shop.history()[0]["steps"]):
        time.sleep(0.1)
    client.send_signal(signal.SIGINT)
    assert client.wait(60) == 130
    assert shop.history()[0]["state"] == "aborted"
    assert set(shop.containers()) == before
    assert shop.serving() == V1


def test_a_second_deploy_is_refused_while_the_first_one_runs(shop: Shop) -> None:
    detached = shop.deploy("v1", "--detach")
    assert detached.status == 0
    refused = shop.deploy("v2")
    assert refused.status == 11
    assert "locked by" in refused.last["reason"]
    assert shop.until("succeeded")["release"] == "v1"
    assert shop.status()["lock"] is None


def test_wait_switched_returns_when_traffic_moved_and_the_worker_goes_on(shop: Shop) -> None:
    answer = shop.deploy("v1", "--wait", "switched")
    assert answer.status == 0
    assert shop.serving() == V1
    assert shop.until("succeeded")["release"] == "v1"


def test_a_dead_worker_is_recovered_by_the_next_deploy(shop: Shop) -> None:
    assert shop.deploy("v1").status == 0
    shop.configure(deadline="60s")
    shop.deploy("v3", "--detach")
    while not any(s["name"] == "health" for s in shop.history()[0]["steps"]):
        time.sleep(0.1)
    worker = shop.worker()
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    answer = shop.deploy("v2")
    assert answer.status == 0
    assert [row["state"] for row in shop.history()] == ["succeeded", "failed", "succeeded"]
    assert len(shop.containers()) == 4
    assert shop.serving() == V2


def test_no_secret_is_in_arguments_logs_events_or_the_state_folder(shop: Shop) -> None:
    shop.deploy("v1", "--detach")
    secrets = [shop.urls["password"], shop.world.registry.password, f"k-{shop.name}-73xq"]
    seen = b""
    while shop.history()[0]["state"] != "succeeded":
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    seen += (folder / "cmdline").read_bytes()
                except OSError:
                    continue
        time.sleep(0.02)
    until_no_worker_runs(shop.folder / "h")
    for path in (shop.folder / "h").rglob("*"):
        if path.is_file() and path.suffix != ".zst":
            seen += path.read_bytes()
    seen += shop.run("events", shop.history()[0]["deployment"], "--json").out.encode()
    assert len(seen) > 10_000
    for secret in secrets:
        assert secret.encode() not in seen


def test_read_only_commands_write_nothing(shop: Shop) -> None:
    shop.run("plan", "dev", "--version", "v1")
    shop.run("deploy", "dev", "--version", "v1", "--dry-run")
    shop.run("status", "dev")
    shop.run("history", "dev")
    assert not (shop.folder / "h").exists()
    assert shop.deploy("v1").status == 0
    until_no_worker_runs(shop.folder / "h")
    before = {p: p.read_bytes() for p in (shop.folder / "h").rglob("*.db*")}
    for words in (
        ("plan", "dev", "--version", "v2"),
        ("status",),
        ("history", "dev"),
        ("rollback", "dev", "--dry-run"),
    ):
        shop.run(*words)
    assert {p: p.read_bytes() for p in (shop.folder / "h").rglob("*.db*")} == before


def test_a_backup_can_be_restored_by_pg_restore(shop: Shop) -> None:
    assert shop.deploy("v1").status == 0
    shop.world.query("update catalog_product set name = 'marker' where id = 1", shop.name)
    assert shop.deploy("v2").status == 0
    dumps = sorted((shop.folder / "h" / "backups" / "dev").glob("*.dump.zst"))
    assert len(dumps) == 2 and dumps[1].stat().st_mode & 0o077 == 0
    archive = subprocess.run(["zstd", "-dc", str(dumps[1])], capture_output=True, check=True).stdout
    listing = subprocess.run(
        ["pg_restore", "--data-only", "--table=catalog_product", "-f", "-"],
        input=archive, capture_output=True, check=True,
    )  # fmt: skip
    assert b"marker" in listing.stdout


def test_plan_names_digests_and_steps(shop: Shop) -> None:
    plan = json.loads(shop.run("plan", "dev", "--version", "v1", "--json").out)
    assert plan["steps"][0] == "check" and "migrate" in plan["steps"]
    assert "@sha256:" in plan["components"]["backend"]["image"]
