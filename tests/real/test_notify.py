"""Deployments of the shop, told to real receivers."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.notify.receiver import HANG, TOKEN, black_hole, receiving
from tests.shop import Answer, Shop

pytestmark = pytest.mark.world


def log_of(shop: Shop, lines: int, seconds: float = 10) -> list[dict[str, str]]:
    """The file log, once it has so many lines: it is written beside the deployment."""
    path, end = shop.folder / "h" / "notifications.jsonl", time.monotonic() + seconds
    while time.monotonic() < end and (not path.exists() or len(path.read_text().splitlines()) < lines):
        time.sleep(0.05)
    return [json.loads(line) for line in path.read_text().splitlines()]


def outbox(shop: Shop) -> list[dict[str, str]]:
    """Oldest first."""
    rows: list[dict[str, str]] = json.loads(shop.run("notifications", "list", "dev", "--json").out)
    return rows[::-1]


def run_in_github(shop: Shop, *words: str) -> Answer:
    done = subprocess.run(
        shop.argv(*words), env={**shop.env, "GITHUB_ACTIONS": "true"}, cwd=shop.folder, capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def test_everybody_hears_once_of_start_and_end_and_nobody_of_a_url(shop: Shop) -> None:
    with receiving() as slack, receiving(500, 200) as moody:
        shop.configure(notify=(slack.url, moody.url), bake="1s")
        first = shop.deploy("v1")
        assert first.status == 0, first.err
        moody.until(3, 40)
        assert [told["title"] for told in slack.until(2)] == [
            f"{shop.name} dev: started",
            f"{shop.name} dev: success",
        ]
        assert len(moody.told) == 3, "the first was refused and came again"
        rolled = shop.run("notify", "dev", "thawed", "backend", "by hand", "--json")
        assert len(slack.until(3)) == 3
    lines = log_of(shop, 3)
    assert [line["status"] for line in lines] == ["started", "success", "thawed"]
    assert lines[1]["deployment"] == first.last["deployment"]
    assert {row["state"] for row in outbox(shop)} == {"sent"}
    said = first.out + first.err + rolled.out + rolled.err + json.dumps(outbox(shop))
    said += shop.run("events", first.last["deployment"], "--json").out
    assert TOKEN not in said
    for path in (shop.folder / "h").rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_dead_receivers_cost_a_deploy_no_time_and_lose_nothing(shop: Shop) -> None:
    shop.configure(bake="1s")
    assert shop.deploy("v1").status == 0
    took: dict[str, list[float]] = {"none": [], "dead": []}
    with receiving(HANG) as hung, black_hole() as hole:
        for _ in range(4):  # alternating, until other work on this machine leaves a moment to both
            for name, urls in (("none", ()), ("dead", (hung.url, hole))):
                shop.configure(notify=urls)
                began = time.monotonic()
                done = shop.deploy("v1")
                took[name].append(time.monotonic() - began)
                assert done.status == 0, done.err
            if min(took["dead"]) < min(took["none"]) + 4:
                break
        else:
            raise AssertionError(f"waiting for these two costs 8 s a deploy: {took}")
        told = len(took["dead"])
        shop.configure(notify=(hung.url, hole))
        rows = [row for row in outbox(shop) if row["channel"] != "log"]
        assert len(rows) == 4 * told and {row["state"] for row in rows} == {"pending"}
    with receiving(port=hung.port) as risen:
        shop.run("notifications", "retry", "dev")
        words = sorted(each["title"].split()[-1] for each in risen.until(2 * told))
        assert words == ["started"] * told + ["success"] * told


def test_a_worker_that_died_leaves_what_it_had_to_tell_to_the_next(shop: Shop) -> None:
    with receiving() as receiver:
        shop.configure(notify=(receiver.url,), bake="30s")
        shop.deploy("v1", "--detach")
        shop.until("baking")
        worker = Path(f"/proc/{shop.worker()}")
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in (worker / name).read_bytes()
        assert (worker / "fd/0").readlink() == Path("/dev/null"), "no tool of the worker reads the letter"
        shop.end_worker()
        shop.configure(bake="1s")
        assert shop.deploy("v1").status == 0
        titles = [told["title"].split()[-1] for told in receiver.until(4)]
        assert titles == ["started", "rollback", "started", "success"]


def test_a_run_of_github_actions_is_annotated(shop: Shop) -> None:
    shop.configure(bake="1s")
    done = run_in_github(shop, "deploy", "dev", "--version", "v1")
    assert done.status == 0, done.err
    start, end = [line for line in done.out.splitlines() if line.startswith("::")]
    assert start.startswith(f"::notice title={shop.name} dev%3A started::deploy of v1 by ")
    assert end.startswith(f"::notice title={shop.name} dev%3A success::v1 is live after ")
    failed = run_in_github(shop, "deploy", "dev", "--version", "v3", "--json")
    assert failed.status == 20
    assert all(line.startswith("{") for line in failed.out.splitlines())
    assert [line for line in failed.err.splitlines() if line.startswith("::error ")]
