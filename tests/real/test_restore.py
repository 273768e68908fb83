"""Breaking migrations and restores on real parts, under the strict load client: nothing acknowledged is ever lost."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from backstay.adapters.store import open_reader
from tests.shop import Shop

pytestmark = pytest.mark.world

V2 = {"backend": "v2", "frontend": "v2"}
V7 = {"backend": "v7", "frontend": "v7"}
ORDER = (
    "INSERT INTO catalog_order (product_id, quantity, total_cents, note, created_at)"
    " SELECT id, 1, 5, 'new', now() FROM catalog_product LIMIT {}"
)
COLUMNS = (
    "SELECT string_agg(column_name, ' ') FROM information_schema.columns WHERE table_name = 'catalog_product'"
)
PATIENT = "2s, hold_deadline: 60s"


def beside(shop: Shop) -> dict[str, bool]:
    """The databases beside the shop's, and whether they accept anybody."""
    rows = shop.world.query(
        f"SELECT datname, datallowconn FROM pg_database WHERE datname LIKE '{shop.name}\\_%' ORDER BY 1"
    )
    return {
        row.partition("|")[0].removeprefix(f"{shop.name}_"): row.endswith("|t") for row in rows.splitlines()
    }


def test_a_breaking_migration_in_maintenance_under_load_loses_and_fails_nothing(shop: Shop) -> None:
    """Once it fails after the migration and everything is as before; once it goes well."""
    shop.configure(bake=PATIENT)
    assert shop.deploy("v2").status == 0
    before = set(shop.containers())
    with shop.load(slow_path="/api/v1/slow/?ms=1000", websockets=0, timeout_s=60) as load:
        load.until(lambda seen: seen.requests > 30)
        shop.configure(
            under=", under: 1ms"
        )  # no release passes that: the smoke test after the migration fails
        failed = shop.deploy("v7", "--maintenance")
        assert (failed.status, failed.last["failed_step"]) == (20, "smoke"), failed.out[-1500:]
        assert set(shop.containers()) == before and shop.serving() == V2
        assert shop.status()["drift"] == [] and shop.status()["held"] is None
        assert "discount_cents" in shop.world.query(COLUMNS, shop.name)
        load.until(lambda seen: len(seen.records) > 0 and seen.records[-1].release == "v2")
        shop.configure(under=", under: 2s")
        answer = shop.deploy("v7", "--maintenance")
        time.sleep(0.5)
        report = load.stop()
    assert (answer.status, answer.last["state"]) == (0, "succeeded"), answer.out[-1500:]
    assert report.failed == 0, report.failures[:5]
    assert report.bad_answers == {}, "v2 never met the schema that it cannot live with"
    assert set(report.by_release) == {"v2", "v7"}
    assert shop.orders() == len([r for r in report.records if r.kind == "post" and r.outcome == "ok"])
    assert shop.serving() == V7
    assert len(shop.containers()) == 2 and shop.status()["held"] is None
    assert [name.partition("_")[0] for name in beside(shop)] == ["before", "failed"]
    longest_s = max(counts.max_s for counts in report.by_kind.values() if counts.requests)
    print(f"held at most {longest_s:.1f} s of {report.requests} requests")
    back = shop.run("rollback", "dev", "--json")
    assert back.status == 10 and "cannot live with" in back.last["reason"]


def test_a_restore_names_the_loss_then_takes_exactly_that(shop: Shop) -> None:
    shop.configure(bake=PATIENT)
    assert shop.deploy("v2").status == 0
    backup = shop.run("backup", "create", "dev", "--json").last["id"]
    shop.world.query(
        f"{ORDER.format(2)}; UPDATE catalog_product SET name = name || '!' WHERE id = 1",
        shop.name,
    )
    looked = shop.run("backup", "restore", "dev", backup, "--dry-run", "--json")
    assert looked.status == 30 and looked.last["least_loss"]["rows"] == 4
    refused = shop.run("backup", "restore", "dev", backup)
    assert refused.status == 30 and "at least 4 rows would change" in refused.err
    counted = shop.run("backup", "restore", "dev", backup, "--accept-loss", "3", "--json")
    assert counted.status == 30 and "would change 4 rows" in counted.last["reason"]
    assert "--accept-loss 4" in counted.last["hint"] and shop.orders() == 2
    with shop.load(posts=0, slow=0, websockets=0, timeout_s=60) as load:
        load.until(lambda seen: seen.requests > 20)
        done = shop.run("backup", "restore", "dev", backup, "--accept-loss", "4", "--json")
        report = load.stop()
    assert done.status == 0, done.err
    assert report.failed == 0 and report.bad_answers == {}, report.failures[:5]
    restored = done.last["restore"]
    assert (
        restored["rows"] > 0 and restored["checksums"] == restored["tables"] and restored["differences"] == []
    )
    assert restored["loss"]["rows"] == 4 and restored["replaced"].startswith(f"{shop.name}_before_")
    assert shop.orders() == 0 and shop.serving() == V2
    assert list(beside(shop).values()) == [False], "what was live is kept, and accepts nobody"
    assert shop.history()[0]["kind"] == "restore"
    file = shop.folder / "backstay.yml"
    file.write_text(file.read_text().replace("policy: {", "policy: {keep_replaced: 1s, ", 1))
    again = shop.run("backup", "create", "dev")
    assert again.status == 0 and "dropped: it was replaced on" in again.err and beside(shop) == {}


@pytest.mark.parametrize(
    "steps",
    [
        ("swap", "health"),
        pytest.param(("restore", "hold", "quiesce", "start", "public-smoke"), marks=pytest.mark.long),
    ],
)
def test_a_restore_killed_at_any_moment_leaves_a_whole_database_and_the_next_command_ends_it(
    shop: Shop, steps: tuple[str, ...]
) -> None:
    """Case 8: kill -9 of the worker, somewhere in the restore, the hold, the swap, the start."""
    shop.configure(bake=PATIENT)
    assert shop.deploy("v2").status == 0
    backup = shop.run("backup", "create", "dev", "--json").last["id"]
    shop.world.query(ORDER.format(1), shop.name)
    for step in steps:
        begun = shop.start("backup", "restore", "dev", backup, "--accept-loss", "1")
        id_ = _kill_in(shop, step)
        begun.wait(30)
        assert shop.orders() in (0, 1), "whole, whichever it is"
        recovered = shop.run("recover", "dev")
        ended = json.loads(shop.run("show", id_, "--json").out)
        assert ended["state"] in ("failed", "rolled_back"), (step, recovered.err)
        assert shop.orders() == 1 and beside(shop) == {}
        assert shop.serving() == V2 and shop.status()["held"] is None and shop.status()["drift"] == []


def test_a_wrong_target_is_refused_whatever_is_accepted(shop: Shop) -> None:
    """Case 9: the backup, the name of the database and the server must agree; elsewhere only into an empty one."""
    assert shop.deploy("v2").status == 0
    backup = shop.run("backup", "create", "dev", "--json").last["id"]
    secrets = (shop.folder / "secrets.env").read_text()
    other = shop.world.create_database(f"{shop.name}o")
    try:
        (shop.folder / "secrets.env").write_text(secrets.replace(shop.urls["host"], other["host"]))
        wrong = shop.run("backup", "restore", "dev", backup, "--accept-loss", "1000")
        assert wrong.status == 30 and f"the live one is {other['name']}" in wrong.err
        (shop.folder / "secrets.env").write_text(
            secrets + f"ELSEWHERE={other['host']}\nLIVE={shop.urls['host']}\n"
        )
        over = shop.run("backup", "restore", "dev", backup, "--target", "secret:LIVE")
        assert over.status == 30 and "is not empty" in over.err
        done = shop.run("backup", "restore", "dev", backup, "--target", "secret:ELSEWHERE", "--json")
        assert done.status == 0 and done.last["ok"] and done.last["rows"] > 0, done.err
        assert shop.serving() == V2
    finally:
        shop.world.drop_database(other["name"])


def _kill_in(shop: Shop, step: str) -> str:
    """Kill the worker of the newest deployment in that step, or right after one that was over before we looked; the
    deployment's id."""
    store = open_reader(shop.folder / "h" / "state.db")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        held = store.lease(shop.name, "dev")
        journal = store.steps(held.deployment) if held is not None and held.deployment else []
        if held is not None and any(record.name == step for record in journal):
            os.kill(held.owner.pid, signal.SIGKILL)
            return str(held.deployment)
        time.sleep(0.002)
    raise AssertionError(f"never in {step}: {shop.history()[:1]}")
