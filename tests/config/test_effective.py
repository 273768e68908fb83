"""`config show`: what is in force, where it comes from, and what stays hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.config import show
from backstay.config.effective import Setting
from backstay.config.locate import shown_store
from backstay.config.values import duration, write_duration
from tests.config.samples import FULL, GOOD, written

ENVIRON = {"HOOK": "hooks/T0KEN", "BACKSTAY_HOME": "/srv/state", "API_TOKEN": "T0KEN", "NAME": "x"}


def _shown(folder: Path, text: str, environment: str) -> dict[str, Setting]:
    return {setting.key: setting for setting in show(written(folder, text), environment, ENVIRON)}


def test_origins(tmp_path: Path) -> None:
    shown = _shown(tmp_path, FULL, "prod")
    file = tmp_path / "backstay.yml"
    assert shown["app"] == Setting("app", "shop", f"{file}:1")
    assert shown["environments.prod.policy.bake"].value == "5m"
    assert shown["environments.prod.policy.bake"].origin == f"{file}:32"
    assert shown["environments.prod.policy.lease"].value == "90s"
    assert shown["environments.prod.policy.migrate_deadline"].origin == "policy strict"
    assert shown["environments.prod.policy.smoke_every"].value == "off"
    assert shown["environments.prod.policy.triggers.restart_window"].value == "5m"
    assert shown["environments.prod.network"] == Setting("environments.prod.network", "shop-prod", "built-in")
    assert shown["environments.prod.router.bind"].value == "*:443"
    assert shown["environments.prod.ports"].value == "20000-20999"
    assert shown["environments.prod.backups"].value == "/srv/state/backups/prod"
    assert shown["environments.prod.secrets.file"].value == str(tmp_path / "prod.env")
    assert shown["components.backend.memory"].value == "512m"
    assert shown["components.frontend.stop_grace"] == Setting(
        "components.frontend.stop_grace", "10s", "built-in"
    )
    assert shown['smoke[0].expect.json["$.database"]'].value == "connected"
    assert not [key for key in shown if key.startswith(("environments.dev", "environments.uat"))]


def test_every_shown_value_is_json(tmp_path: Path) -> None:
    values = [setting.value for setting in _shown(tmp_path, FULL, "dev").values()]
    assert {type(value) for value in values} <= {str, int, float, bool, list, dict}


def test_secrets_stay_hidden(tmp_path: Path) -> None:
    text = FULL.replace("WORKERS: 3", "WORKERS: 3, API_KEY: T0KEN, PLAIN: '<${API_TOKEN}>', NAMED: '${NAME}'")
    text = text.replace("{Host: localhost}", "{Authorization: Bearer T0KEN}")
    text = text.replace("store: state.db", "store: postgresql://me:T0KEN@db/x")
    shown = _shown(tmp_path, text, "uat")
    assert "T0KEN" not in repr(shown)
    assert shown["environments.uat.notify"].value == ["slack://[redacted]"]
    assert shown["environments.uat.notify"].origin.endswith(":27 ${HOOK}")
    assert shown["store"].value == "postgresql://me:[redacted]@db/x"
    assert shown["components.backend.env.NAMED"].value == "x"


def test_merged_keys_come_from_where_they_are_written(tmp_path: Path) -> None:
    text = GOOD.replace("  dev: {", "  dev: &base {url: 'http://x', ").replace(
        "  prod:\n", "  prod:\n    <<: *base\n"
    )
    assert _shown(tmp_path, text, "prod")["environments.prod.url"].origin == f"{tmp_path / 'backstay.yml'}:19"


@pytest.mark.parametrize(
    "text", ["0s", "1ms", "500ms", "1s", "90s", "2m", "10m", "1h", "168h", "1500ms", "1.5s"]
)
def test_a_written_duration_reads_the_same(text: str) -> None:
    assert duration(write_duration(duration(text))) == pytest.approx(duration(text))


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ("state.db", "state.db"),
        ("postgresql+psycopg://me@db/x", "postgresql+psycopg://me@db/x"),
        ("postgresql+psycopg://me:T0K@EN@db:1/x?sslmode=require", "postgresql+psycopg://me:[redacted]@db:1/x?sslmode=require"),
        ("postgres://db/x?user=me&password=T0KEN&sslpassword=T0KEN", "postgres://db/x?user=me&password=[redacted]&sslpassword=[redacted]"),
    ],
)  # fmt: skip
def test_a_store_is_shown_without_its_password(store: str, shown: str) -> None:
    assert shown_store(store) == shown
