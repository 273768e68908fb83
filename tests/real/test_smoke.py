"""`backstay smoke` on a shop that really runs: good at first, then slow, then with a container dead."""

from __future__ import annotations

import json
from typing import Any

from tests.shop import Answer, Shop


def states(answer: Answer) -> dict[str, Any]:
    return {
        c["id"]: "pass" if c["ok"] else (c["severity"], c["detail"]) for c in json.loads(answer.out)["checks"]
    }


def test_a_shop_is_smoke_tested_by_hand(shop: Shop) -> None:
    shop.configure(under="")
    refused = shop.run("smoke", "dev", "--json")
    assert refused.status == 2 and "nothing is live in dev" in refused.err

    assert shop.deploy("v1").status == 0
    good = shop.run("smoke", "dev", "--json")
    found = states(good)
    assert good.status == 0
    assert {id_ for id_, state in found.items() if state == "pass"} == {
        "frontend", "backend health", "frontend health", "api", "response time", "database", "containers", "api root",
    }  # fmt: skip
    # A deployment that was refused has left its nonce in the router.
    assert shop.deploy("v3").status == 20
    assert shop.run("smoke", "dev", "--json").status == 0
    outside = states(shop.run("smoke", f"http://127.0.0.1:{shop.port}", "--json"))
    assert outside["database"] == outside["frontend"] == outside["api"] == "pass"

    # The essential set of dev lets a slow release through; who asks by hand is told.
    assert shop.deploy("v6").status == 0
    slow = shop.run("smoke", "dev", "--json", "--retries", "1")
    assert slow.status == 10 and states(slow)["response time"][0] == "error"

    live = shop.status()["live"]["components"]
    shop.world.docker("kill", live["frontend"]["container"])
    dead = shop.run("smoke", "dev", "--json", "--retries", "1")
    assert dead.status == 10
    assert states(dead)["containers"] == ("error", "frontend exited with 137")
    assert states(dead)["frontend"][0] == "error"


def test_cors_that_the_application_does_not_grant_fails(shop: Shop) -> None:
    configuration = shop.folder / "backstay.yml"
    text = configuration.read_text()
    configuration.write_text(text + '    cors: {origins: ["https://www.example"]}\n')
    assert shop.deploy("v1").status == 0  # basic: CORS is not essential
    done = shop.run("smoke", "dev", "--json", "--retries", "1")
    assert done.status == 10
    assert states(done)["cors"] == (
        "error",
        "the preflight does not allow https://www.example but no origin",
    )
