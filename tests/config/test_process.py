"""A file for the process engine: what it becomes, and what it must and must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from backstay.config import Severity, check, load
from backstay.errors import ConfigError
from tests.config.samples import written

PLAIN: Final = """\
app: shop
components:
  backend:
    command: [python, serve.py, --version, "{version}"]
    workdir: releases/{version}
    port: 8000
    migrate: [python, migrate.py]
routes:
  - {path: /, component: backend}
environments:
  dev: {engine: process}
"""


def _told(folder: Path, old: str = "", new: str = "") -> list[str]:
    """What is wrong when `new` stands where `old` is, without the file's name."""
    assert old in PLAIN
    path = written(folder, PLAIN.replace(old, new, 1))
    return [str(p).removeprefix(f"{path}:") for p in check(path, {}) if p.severity is Severity.ERROR]


def test_the_folder_of_a_release_stands_for_the_image(tmp_path: Path) -> None:
    app = load(written(tmp_path, PLAIN), "dev", {}, tmp_path / "home")
    assert app.environment.engine == "process"
    backend = app.components["backend"]
    assert backend.image == f"{tmp_path}/releases/{{version}}"
    assert backend.command == ("python", "serve.py", "--version", "{version}")


def test_an_absolute_folder_stays_where_it_is(tmp_path: Path) -> None:
    text = PLAIN.replace("releases/{version}", "/srv/shop/{version}/backend")
    app = load(written(tmp_path, text), "dev", {}, tmp_path / "home")
    assert app.components["backend"].image == "/srv/shop/{version}/backend"


def test_docker_stays_the_default(tmp_path: Path) -> None:
    text = PLAIN.replace("    port", "    image: shop\n    port").replace("{engine: process}", "{}")
    app = load(written(tmp_path, text), "dev", {}, tmp_path / "home")
    assert (app.environment.engine, app.components["backend"].image) == ("docker", "shop")


def test_a_registry_is_of_no_use_to_processes(tmp_path: Path) -> None:
    """Its login is not even asked for, so that the secrets may be missing."""
    text = PLAIN + "registry: {username_secret: U, password_secret: P}\n"
    path = written(tmp_path, text.replace("{engine: process}", "{engine: process, secrets: {file: s.env}}"))
    assert load(path, "dev", {}, tmp_path / "home").environment.registry is None
    assert [str(p) for p in check(path, {})] == [
        f"{path}:12: notice: registry: unused: the process engine has no registry"
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            '    command: [python, serve.py, --version, "{version}"]\n',
            "",
            '3: components.backend: the key "command" is missing: the process engine of dev needs it',
        ),
        (
            '[python, serve.py, --version, "{version}"]',
            "[]",
            "4: components.backend.command: the process engine of dev needs it",
        ),
        (
            "    workdir: releases/{version}\n",
            "",
            '3: components.backend: the key "workdir" is missing: the process engine of dev needs it',
        ),
        (
            "releases/{version}",
            "release",
            "5: components.backend.workdir: must contain {version}: every release needs a folder of its own",
        ),
        (
            "    port: 8000",
            '    port: 8000\n    volumes: ["media:/srv/media"]',
            "7: components.backend.volumes: the process engine of dev cannot mount volumes; "
            "remove the key, or run the environment on docker",
        ),
        (
            "    port: 8000",
            "    port: 8000\n    memory: 512m",
            "7: components.backend.memory: the process engine of dev cannot limit memory; "
            "remove the key, or run the environment on docker",
        ),
        (
            "{engine: process}",
            "{engine: process, network: shop}",
            "11: environments.dev.network: the process engine has no networks: its processes share the "
            "host's; remove the key",
        ),
        (
            "  dev: {engine: process}",
            "  dev: {engine: process}\n  prod: {router: {bind: ':80'}}",
            '3: components.backend: the key "image" is missing: the docker engine of prod needs it',
        ),
    ],
)
def test_what_the_engine_needs_or_cannot_do_is_told(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert _told(tmp_path, old, new) == [told]


def test_one_file_may_serve_both_engines(tmp_path: Path) -> None:
    text = PLAIN.replace("    port", "    image: shop\n    port") + "  prod: {router: {bind: ':80'}}\n"
    path = written(tmp_path, text)
    assert [str(p) for p in check(path, {}) if p.severity is Severity.ERROR] == []
    assert load(path, "prod", {}, tmp_path / "home").components["backend"].image == "shop"


def test_a_limit_that_only_docker_honours_is_refused_for_processes_alone(tmp_path: Path) -> None:
    text = PLAIN.replace("    port", "    image: shop\n    memory: 512m\n    port")
    path = written(tmp_path, text + "  prod: {router: {bind: ':80'}}\n")
    assert load(path, "prod", {}, tmp_path / "home").components["backend"].memory == 512 * 1024**2
    with pytest.raises(ConfigError, match="cannot limit memory"):
        load(path, "dev", {}, tmp_path / "home")
