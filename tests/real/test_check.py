"""`backstay check` on real parts: one fault after the other, each found by its own check, with what to do next."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine import fakes, tiny
from tests.real.workers import until_no_worker_runs
from tests.shop import Answer, Shop

pytestmark = pytest.mark.world


class Checked(Shop):
    """A shop under the standard checks, whose environment and configuration a story may spoil."""

    extra: dict[str, str]

    def __enter__(self) -> Checked:
        super().__enter__()
        return self

    def configure(self, **changes: str) -> None:
        super().configure(**changes)
        self.edit("policy: {bake", "policy: {checks: standard, bake")

    def edit(self, old: str, new: str, name: str = "backstay.yml") -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new))

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, **getattr(self, "extra", {})}

    def check(self, *words: str) -> dict[str, Any]:
        """The document of `check dev`; the exit status must agree with it."""
        answer = self.run("check", "dev", "--json", *words, seconds=60)
        assert answer.err == ""
        document: dict[str, Any] = answer.lines[0]
        assert answer.status == (0 if document["ok"] else 10), answer.out
        return document

    def faults(self, *words: str) -> dict[str, str]:
        """Detail by id of the checks that failed; each must have a hint."""
        return self.faults_in(self.check(*words))

    @staticmethod
    def faults_in(document: dict[str, Any]) -> dict[str, str]:
        bad = [check for check in document["checks"] if check["fails"]]
        assert all(check["hint"] for check in bad), bad
        return {check["id"]: check["detail"] for check in bad}


@pytest.fixture
def shop(shop_images: Any) -> Iterator[Checked]:
    with Checked(shop_images, f"check{os.getpid()}x{time.monotonic_ns() % 10**6}", bake="1s") as made:
        yield made


def one_offs(shop: Shop) -> list[str]:
    return shop.world.docker("ps", "-aq", "--filter", "label=backstay.role=check").split()


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "router" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_healthy_environment_is_ready_and_looking_leaves_nothing(shop: Checked) -> None:
    assert shop.deploy("v1").status == 0
    until_no_worker_runs(shop.folder / "h")
    before, containers = files(shop.folder / "h"), shop.containers()
    document = shop.check("--version", "v2")
    assert [c for c in document["checks"] if not c["ok"]] == []
    found = {c["id"]: c for c in document["checks"]}
    assert "answers a container" in found["database container"]["detail"]
    assert (
        "has 'python'" in found["artifact backend"]["detail"]
        or found["artifact backend"]["severity"] == "notice"
    )
    assert {"id", "ok", "severity", "detail", "hint", "took_s"} <= set(found["disk"])
    assert files(shop.folder / "h") == before
    assert shop.containers() == containers and one_offs(shop) == []


def test_people_see_a_table_with_marks_and_what_next(shop: Checked) -> None:
    shop.edit("SECRET_KEY=", "SECRET_KEX=", "secrets.env")
    answer: Answer = shop.run("check", "dev", "--version", "v1")
    assert answer.status == 10
    assert re.search(
        r"✗ variables +secrets missing: SECRET_KEY\n +next: set them in .*secrets.env", answer.out
    )
    assert re.search(r"✓ engine ", answer.out) and re.search(r"· network ", answer.out)
    assert answer.out.endswith("nothing was changed\n") and "1 of 20 checks failed" in answer.out


def test_no_engine(shop: Checked) -> None:
    shop.extra = {"DOCKER_HOST": f"unix://{shop.folder}/none.sock"}
    faults = shop.faults("--version", "v1")
    assert list(faults) == ["engine"] and "no Docker engine answers" in faults["engine"]


def test_an_engine_that_takes_calls_and_says_nothing(shop: Checked) -> None:
    with fakes.engine(shop.folder, fakes.silent) as host:
        shop.extra = {"DOCKER_HOST": host}
        document = shop.check("--version", "v1")
    assert document["took_s"] < 8
    faults = shop.faults_in(document)
    assert list(faults) == ["engine"] and "did not answer within 5 s" in faults["engine"]


def test_a_wrong_registry_password(shop: Checked) -> None:
    shop.edit(shop.world.registry.password, "wrong-hidden", "secrets.env")
    faults = shop.faults("--version", "v1")
    assert set(faults) == {"registry", "manifest backend", "manifest frontend"}
    assert all("refused the login" in detail for detail in faults.values())
    assert "wrong-hidden" not in repr(faults)


def test_a_tag_nobody_pushed(shop: Checked) -> None:
    faults = shop.faults("--version", "v99")
    assert set(faults) == {"manifest backend", "manifest frontend"}
    assert "does not have the image" in faults["manifest backend"]


def test_a_registry_that_is_down(shop: Checked) -> None:
    shop.extra = {"REGISTRY": "127.0.0.1:1"}
    faults = shop.faults("--version", "v1")
    assert set(faults) == {"registry", "manifest backend", "manifest frontend"}
    assert all("cannot be reached" in detail for detail in faults.values())


def test_a_registry_that_is_a_black_hole_keeps_nobody_else_from_reporting(shop: Checked) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        shop.extra = {"REGISTRY": f"127.0.0.1:{silent.getsockname()[1]}"}
        document = shop.check("--version", "v1")
    found = {c["id"]: c for c in document["checks"]}
    bad = {id_ for id_, c in found.items() if c["fails"]}
    assert {"registry", "manifest backend", "manifest frontend"} <= bad <= {
        "registry", "manifest backend", "manifest frontend", "disk"
    }  # fmt: skip
    assert found["database"]["took_s"] < 3 and found["proxy"]["ok"]
    slowest = max(c["took_s"] for c in document["checks"])
    assert document["took_s"] <= 1.3 * slowest and document["took_s"] < 12


def test_an_image_for_another_kind_of_processor(shop: Checked) -> None:
    foreign = tiny.push(shop.world, "linux/s390x")
    shop.edit("${REGISTRY}/shop-frontend", foreign.repository)
    try:
        faults = shop.faults("--version", "v1")
    finally:
        tiny.forget(shop.world, foreign)
    assert faults == {"artifact frontend": "built for linux/s390x, but the engine runs linux/amd64"}


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=False)
    if done.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [("size=10m", "10.0 MiB free, needed"), ("size=900m,nr_inodes=40", "inodes free, needed")],
)
def test_a_state_folder_on_a_full_disk(shop: Checked, options: str, words: str) -> None:
    with small_disk(shop.folder / "h", options):
        faults = shop.faults("--version", "v1")
    assert list(faults) == ["disk"] and words in faults["disk"]


def test_a_bind_that_somebody_else_has(shop: Checked) -> None:
    with closing(socket.create_server(("127.0.0.1", shop.port))):
        faults = shop.faults("--version", "v1")
    assert list(faults) == ["bind"]
    assert (
        f"port {shop.port} on 127.0.0.1 is taken by" in faults["bind"] and str(os.getpid()) in faults["bind"]
    )


def test_a_range_of_ports_without_room(shop: Checked) -> None:
    with ExitStack() as listeners:
        port = listening_in_a_row(listeners, 3)
        path = shop.folder / "backstay.yml"
        path.write_text(re.sub(r'ports: "[^"]*"', f'ports: "{port}-{port + 3}"', path.read_text()))
        faults = shop.faults("--version", "v1")
    assert list(faults) == ["ports"]
    assert re.match(rf"[01] of the 2 loopback ports .* free in {port}-{port + 3}", faults["ports"])


def listening_in_a_row(listeners: ExitStack, count: int) -> int:
    """Listen on `count` ports one after the other; the first of them."""
    for first in range(26000, 27000, count):
        with ExitStack() as trial:
            try:
                for port in range(first, first + count):
                    trial.enter_context(closing(socket.create_server(("127.0.0.1", port))))
            except OSError:
                continue
            listeners.push(trial.pop_all())
            return first
    raise AssertionError("no ports in a row are free")


def test_memory_that_the_host_does_not_have(shop: Checked) -> None:
    shop.edit("memory: 512m", "memory: 9000g")
    faults = shop.faults("--version", "v1")
    assert (
        list(faults) == ["memory"]
        and "backend: the memory limit is more than the host has" in faults["memory"]
    )


DATABASE_FAULTS: dict[str, tuple[str, str, str]] = {
    "down": (r":\d+/", ":1/", "Connection refused"),
    "wrong password": (r":[0-9a-f]{32}@", ":wrong-hidden@", "password authentication"),
    "no such database": (r"$", "x", "does not exist"),
}


@pytest.mark.parametrize("name", DATABASE_FAULTS)
def test_a_database_that_this_host_does_not_reach(shop: Checked, name: str) -> None:
    what, instead, words = DATABASE_FAULTS[name]
    shop.edit(shop.urls["host"], re.sub(what, instead, shop.urls["host"]), "secrets.env")
    faults = shop.faults("--version", "v1")
    assert list(faults) == ["database"] and words in faults["database"]
    assert "wrong-hidden" not in repr(faults)


def test_a_database_with_no_connection_left(shop: Checked) -> None:
    shop.world.query(f'ALTER ROLE "{shop.name}" CONNECTION LIMIT 0')
    faults = shop.faults("--version", "v1")
    assert list(faults) == ["database"] and "too many connections" in faults["database"]


def test_a_database_that_containers_do_not_reach(shop: Checked) -> None:
    assert shop.deploy("v1").status == 0
    url, port = shop.urls["container"], shop.world.postgres.port
    with closing(socket.create_server(("0.0.0.0", 0))) as silent:
        stories = {
            "localhost is the container itself": (
                url.replace("host.docker.internal", "127.0.0.1"),
                "refused",
            ),
            "a name nobody knows": (
                url.replace("host.docker.internal", "nowhere.invalid"),
                "nowhere.invalid",
            ),
            "a black hole": (
                url.replace(f":{port}/", f":{silent.getsockname()[1]}/"),
                "nothing answers",
            ),
        }
        before = url
        for name, (spoiled, words) in stories.items():
            shop.edit(f"DATABASE_URL={before}", f"DATABASE_URL={spoiled}", "secrets.env")
            before = spoiled
            bad = {c["id"]: c for c in shop.check()["checks"] if c["fails"]}
            assert list(bad) == ["database container"], (name, bad)
            fault = bad["database container"]
            assert words in fault["detail"], name
            assert "listen_addresses" in fault["hint"] and "pg_hba.conf" in fault["hint"]
            assert one_offs(shop) == []


def test_a_deployment_under_way_is_named(shop: Checked) -> None:
    shop.configure(bake="60s")
    assert shop.deploy("v1", "--wait", "switched").status == 0
    faults = shop.faults()
    assert list(faults) == ["deployment"]
    for words in ("is locked by", "for deploy v1", "since 20", "until 20"):
        assert words in faults["deployment"]
    shop.run("rollback", "dev")


def test_a_deploy_stops_at_a_failed_check_with_all_of_them_told_and_nothing_changed(shop: Checked) -> None:
    shop.edit("memory: 512m", "memory: 9000g")
    shop.world.query(f'ALTER ROLE "{shop.name}" CONNECTION LIMIT 0')
    answer = shop.deploy("v1")
    assert (answer.status, answer.last["state"], answer.last["failed_step"]) == (10, "failed", "check")
    assert "memory: backend" in answer.last["reason"] and "too many connections" in answer.last["reason"]
    assert answer.last["hint"]
    assert shop.containers() == []


def test_a_warning_stops_a_strict_environment_until_it_accepts(shop: Checked) -> None:
    assert shop.deploy("v1").status == 0
    # As many again as the live slot holds now do not fit under this limit.
    held = int(shop.world.query(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{shop.name}'"))
    shop.world.query(f'ALTER ROLE "{shop.name}" CONNECTION LIMIT {held + 1}')
    try:
        found = {c["id"]: c for c in shop.check("--version", "v2")["checks"]}
        assert found["connections"]["severity"] == "warning" and not found["connections"]["fails"]
        shop.edit("checks: standard", "checks: strict")
        assert list(shop.faults("--version", "v2")) == ["connections"]
        shop.edit("checks: strict", "checks: strict, accept: [connections]")
        assert shop.faults("--version", "v2") == {}
    finally:
        shop.world.query(f'ALTER ROLE "{shop.name}" CONNECTION LIMIT -1')
