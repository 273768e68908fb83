"""A release is tried on a real copy of a real database, and what is caught there never touches production."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.adapters.scratch.processes import working_in
from tests.shop import PRODUCTS, Shop
from tests.world import World
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def live(shop_images: World) -> Iterator[Shop]:
    """v1 serves, with two orders that are alike; every deployment is rehearsed."""
    with Shop(shop_images, f"reh{os.getpid()}", bake="1s", rehearsal="always") as made:
        assert made.deploy("v1").status == 0
        for _ in range(2):
            made.order()
        yield made


def on_v2(shop: Shop) -> Shop:
    """A story may be the first of its process."""
    if shop.serving() != {"backend": "v2", "frontend": "v2"}:
        assert shop.deploy("v2").status == 0
    return shop


def columns(shop: Shop) -> list[str]:
    asked = (
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'catalog_product' ORDER BY 1"
    )
    return shop.world.query(asked, shop.name).split()


def traces(shop: Shop) -> list[str]:
    """Whatever a rehearsal made and has not removed."""
    named = ["--filter", f"label=backstay.app={shop.name}", "--filter", "label=backstay.role=rehearsal"]
    found = shop.world.docker("ps", "-aq", *named).split()
    found += shop.world.docker("network", "ls", "-q", *named).split()
    scratch = shop.folder / "h" / "scratch"
    return [
        *found,
        *(map(str, scratch.iterdir()) if scratch.exists() else ()),
        *map(str, working_in(scratch)),
    ]


def test_an_additive_migration_is_compatible_and_its_deployment_goes_on(live: Shop) -> None:
    answer = live.deploy("v2")
    assert answer.status == 0, answer.last["reason"]
    found = answer.rehearsal
    assert (found["verdict"], found["rollback_safe"], found["isolated"]) == ("compatible", True, True)
    assert found["backup"]["ok"]
    assert found["backup"]["rows"] >= 22
    assert any("ADD COLUMN" in each["sql"] for each in found["statements"])
    assert [lock["table"] for lock in found["locks"]] in ([], ["public.catalog_product"])
    assert all(each["ok"] for each in (*found["new"], *found["old"]))
    assert live.status()["last_backup"]["state"] == "verified"
    assert live.serving() == {"backend": "v2", "frontend": "v2"}
    assert traces(live) == []


def test_a_breaking_migration_is_refused_before_production_is_touched(live: Shop) -> None:
    before = columns(on_v2(live))
    answer = live.deploy("v7")
    assert answer.status == 30
    assert answer.last["failed_step"] == "rehearse"
    assert (
        "is breaking: the old release fails on the migrated copy: products: answered 500"
        in answer.last["reason"]
    )
    assert "--maintenance" in answer.last["hint"]
    assert "ban-drop-column" in {each["rule"] for each in answer.rehearsal["lint"]}
    assert columns(live) == before and "discount_cents" in before
    assert live.serving() == {"backend": "v2", "frontend": "v2"}
    assert traces(live) == []


def test_a_column_that_goes_is_breaking_even_where_no_smoke_test_reads_it(live: Shop) -> None:
    file = on_v2(live).folder / "backstay.yml"
    file.write_text(file.read_text().replace(PRODUCTS, ""))
    try:
        told = live.run("deploy", "dev", "--version", "v7", "--json")
        assert told.status == 30 and "--unused public.catalog_product.discount_cents" in told.last["hint"]
        found = told.rehearsal
        assert (found["verdict"], found["gone"]) == ("breaking", ["public.catalog_product.discount_cents"])
        assert all(each["ok"] for each in found["old"])
        answer = live.run(
            "rehearse", "dev", "--version", "v7", "--json", "--unused", "catalog_product.discount_cents"
        )
        assert (answer.status, answer.last["verdict"]) == (0, "compatible")
    finally:
        live.configure()
    assert live.serving() == {"backend": "v2", "frontend": "v2"}
    assert traces(live) == []


def test_a_migration_that_the_data_refuse_is_refused(live: Shop) -> None:
    answer = on_v2(live).run("rehearse", "dev", "--version", "v8", "--json")
    assert answer.status == 30
    found = answer.last
    assert found["verdict"] == "failed"
    assert 'could not create unique index "order_once"' in found["reasons"][0]
    assert (found["again"], found["new"], found["old"]) == ([], None, None)
    assert live.serving() == {"backend": "v2", "frontend": "v2"}
    assert traces(live) == []


REACH = """
import os, socket
from urllib.parse import urlsplit
for host, port in ((urlsplit(os.environ["DATABASE_URL"]).hostname, urlsplit(os.environ["DATABASE_URL"]).port),
                   ("host.docker.internal", {live}), ("{gateway}", {live}), ("192.0.2.1", 80)):
    try:
        socket.create_connection((host, port), timeout=2).close()
        print("reached")
    except OSError:
        print("no")
"""


def test_killed_in_the_middle_it_is_swept_and_while_it_ran_it_had_no_way_out(live: Shop) -> None:
    """Case 21. It is stopped with a signal first, to have time to look around inside."""
    role = ["--filter", f"label=backstay.app={live.name}", "--filter", "label=backstay.role=rehearsal"]
    with subprocess.Popen(
        live.argv("rehearse", "dev", "--version", "v2"),
        env=live.env,
        cwd=live.folder,
        stderr=subprocess.DEVNULL,
    ) as rehearsal:
        booted = [*role, "--filter", "label=backstay.component=backend", "--filter", "name=-new-"]
        assert wait_until(lambda: bool(live.world.docker("ps", "-q", *booted).split()), 60)
        rehearsal.send_signal(signal.SIGSTOP)
        [container] = live.world.docker("ps", "-q", *booted).split()
        script = REACH.format(live=live.world.postgres.port, gateway=live.world.network.gateway)
        said = live.world.docker("exec", container, "python", "-c", script).split()
        rehearsal.send_signal(signal.SIGKILL)
    assert said == ["reached", "no", "no", "no"]
    assert traces(live) != []
    assert live.run("rehearse", "dev", "--version", "v8").status == 30
    assert traces(live) == []


def test_backups_are_verified_on_demand_and_damage_is_found(live: Shop) -> None:
    answer = live.run("backup", "verify", "dev", "--json")
    assert answer.status == 0, answer.err
    assert (answer.last["ok"], answer.last["checksums"]) == (True, answer.last["tables"])
    rows = json.loads(live.run("backup", "list", "dev", "--json").out)
    [newest] = [row for row in rows if row["id"] == answer.last["id"]]
    assert newest["state"] == "verified"
    dump = Path(newest["path"])
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    answer = live.run("backup", "verify", "dev", newest["id"])
    assert answer.status == 30
    assert "SHA-256" in answer.err
    rows = json.loads(live.run("backup", "list", "dev", "--json").out)
    assert [row["state"] for row in rows if row["id"] == newest["id"]] == ["damaged"]
    with contextlib.suppress(FileNotFoundError):
        dump.write_bytes(whole)
    assert live.run("backup", "verify", "dev", newest["id"]).status == 0
