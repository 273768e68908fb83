"""The five scripts of `init --github`, run on a real shop as a workflow would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.shop import Answer, Shop

pytestmark = pytest.mark.world


def script(shop: Shop, name: str, *words: str, folder: Path | None = None, **env: str) -> Answer:
    """Run a script of the repository in the shop's folder; with `folder`, a copy of it elsewhere."""
    program = shop.folder / "backstay"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m backstay "$@"\n')
    program.chmod(0o755)
    path = (folder or shop.folder) / ".github/scripts" / name
    done = subprocess.run(
        [str(path), *words], env={**shop.env, "BACKSTAY": str(program), **env}, cwd=folder or shop.folder,
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def repository(shop: Shop) -> Shop:
    """A shop at v2, with v1 warm beside it, in a git repository that has the scripts."""
    subprocess.run(["git", "init", "-q"], cwd=shop.folder, check=True)
    assert shop.run("init", "--github").status == 0
    shop.deploy("v1")
    shop.deploy("v2")
    return shop


def test_a_release_is_checked_backed_up_smoked_told_of_and_rolled_back(repository: Shop) -> None:
    shop = repository
    checked = script(shop, "pre-deployment-check.sh", "dev")
    assert checked.status == 0, checked.out + checked.err
    url = urlsplit(shop.urls["host"])
    backup = script(
        shop, "pre-deploy-backup.sh", "dev", f"{url.hostname}:{url.port}", url.path[1:], str(url.username),
        str(url.password),
    )  # fmt: skip
    assert backup.status == 0, backup.err
    assert "DB_PASSWORD" in backup.err, "it warns of the password in the argument list"
    catalog = json.loads(shop.run("backup", "list", "dev", "--json").out)
    assert (
        catalog[0]["state"] == "unverified" and Path(catalog[0]["path"]).stat().st_size == catalog[0]["bytes"]
    )
    smoked = script(shop, "smoke-tests.sh", f"http://127.0.0.1:{shop.port}", "2", "0.2")
    assert smoked.status == 0, smoked.out
    told = script(shop, "deployment-notifications.sh", "dev", "success", "backend", "Backend updated")
    assert told.status == 0, told.err
    [line] = [
        entry for entry in map(json.loads, (shop.folder / "h/notifications.jsonl").read_text().splitlines())
        if entry["message"] == "Backend updated"
    ]  # fmt: skip
    assert (line["status"], line["component"]) == ("success", "backend")
    dry = script(shop, "deployment-rollback.sh", "dev", "all", "--dry-run")
    assert dry.status == 0 and shop.serving() == {"backend": "v2", "frontend": "v2"}
    refused = script(shop, "deployment-rollback.sh", "dev", "backend")
    assert refused.status == 10 and "backend v1 with frontend v2" in refused.err
    assert script(shop, "deployment-rollback.sh", "dev").status == 0
    assert shop.serving() == {"backend": "v1", "frontend": "v1"}


def test_they_say_what_failed_by_their_status(repository: Shop, tmp_path: Path) -> None:
    shop = repository
    assert script(shop, "pre-deployment-check.sh", "prod").status == 2
    shop.run("lock", "acquire", "dev", "--purpose", "maintenance")
    assert script(shop, "deployment-rollback.sh", "dev").status == 11
    url = urlsplit(shop.urls["host"])
    wrong = script(
        shop, "pre-deploy-backup.sh", "dev", f"{url.hostname}:{url.port}", url.path[1:], str(url.username),
        DB_PASSWORD="wrong",
    )  # fmt: skip
    assert wrong.status == 30 and "wrong" not in wrong.err.replace("wrong password", "")
    assert script(shop, "smoke-tests.sh", "http://127.0.0.1:1", "1").status == 10


def test_without_a_configuration_they_work_where_the_originals_did(repository: Shop, tmp_path: Path) -> None:
    shop, elsewhere = repository, tmp_path / "elsewhere"
    (elsewhere / ".github").mkdir(parents=True)
    (shop.folder / ".github/scripts").rename(elsewhere / ".github/scripts")
    env = {"BACKSTAY_APP": "other", "BACKSTAY_HOME": str(tmp_path / "home")}
    smoked = script(shop, "smoke-tests.sh", f"http://127.0.0.1:{shop.port}", folder=elsewhere, **env)
    assert smoked.status == 0, smoked.out
    url = urlsplit(shop.urls["host"])
    backup = script(
        shop, "pre-deploy-backup.sh", "dev", f"{url.hostname}:{url.port}", url.path[1:], str(url.username),
        folder=elsewhere, DB_PASSWORD=str(url.password), **env,
    )  # fmt: skip
    assert backup.status == 0, backup.err
    assert [path.name for path in (tmp_path / "home/backups/dev").glob("other_dev_*.dump*")]
    told = script(
        shop,
        "deployment-notifications.sh",
        "dev",
        "started",
        "all",
        "Deployment initiated",
        folder=elsewhere,
        **env,
    )
    assert told.status == 0 and "Deployment initiated" in (tmp_path / "home/notifications.jsonl").read_text()
