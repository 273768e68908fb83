"""Good files: what they become."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.config import Severity, check, find, json_schema, load, outline, show, state_home
from backstay.domain.backup import BackupKind
from backstay.domain.environment import Bind, DatabaseSource, RegistrySource
from backstay.domain.objective import Objective
from backstay.domain.policy import BackupRule, CheckSet, Level, Policy, SmokeSet, Trial, Triggers
from backstay.domain.release import Health, Route
from backstay.domain.schedule import Schedule
from backstay.domain.smoke import Expectation
from backstay.domain.wal import Continuous
from backstay.errors import ConfigError
from tests.config.samples import FULL, GOOD, written

ENVIRON = {"HOOK": "hooks/T0KEN", "BACKSTAY_HOME": "/srv/state"}


@pytest.mark.parametrize(("text", "environ"), [(GOOD, {}), (FULL, ENVIRON)])
def test_a_good_file_has_no_errors(text: str, environ: dict[str, str], tmp_path: Path) -> None:
    told = [str(p) for p in check(written(tmp_path, text), environ) if p.severity is Severity.ERROR]
    assert told == []


def test_the_full_file_becomes_components(tmp_path: Path) -> None:
    app = load(written(tmp_path, FULL), "dev", ENVIRON)
    backend = app.components["backend"]
    assert (backend.image, backend.version, backend.digest) == ("registry.example/shop-backend", "", "")
    assert backend.command == ("gunicorn", "shop.wsgi", "-w", "3")
    assert backend.env == {"DJANGO_SETTINGS_MODULE": "shop.settings", "WORKERS": "3", "DEBUG": "no"}
    assert backend.health == Health("/api/v1/health/", {"Host": "localhost"}, 120.0, 0.5)
    assert backend.migrate == ("python", "manage.py", "migrate", "--noinput")
    assert (backend.memory, backend.stop_grace_s) == (512 * 1024 * 1024, 30.0)
    assert app.routes == (Route("/api/", "backend"), Route("/", "frontend"))
    assert (app.path, app.store) == (str(tmp_path / "backstay.yml"), str(tmp_path / "state.db"))


def test_the_full_file_becomes_environments(tmp_path: Path) -> None:
    path = written(tmp_path, FULL)
    dev, uat, prod = (load(path, name, ENVIRON).environment for name in ("dev", "uat", "prod"))
    assert (dev.network, dev.owns_network) == ("shop-dev", False)
    assert (uat.network, uat.owns_network) == ("shop-uat", True)
    assert (dev.bind, uat.bind, prod.bind) == (
        Bind("127.0.0.1", 8080),
        Bind("127.0.0.1", 8080),
        Bind("", 443),
    )
    assert (dev.secrets_file, uat.secrets_file) == (str(tmp_path / ".secrets/dev.env"), "/etc/shop/uat.env")
    assert (dev.backups, uat.backups) == ("/srv/state/backups/dev", str(tmp_path / "dumps"))
    assert dev.ports == (20000, 20999)
    assert dev.database == DatabaseSource("DATABASE_URL", "BACKUP_URL", admin_url_secret="BACKUP_URL")
    assert dev.registry == RegistrySource("REGISTRY_USER", "REGISTRY_PASSWORD")
    assert dev.smoke[0].expect == Expectation(
        200, {"$.database": "connected"}, {"content-type": "json"}, None, 2.0
    )
    assert (dev.policy.level, uat.policy.level) == (Level.BASIC, Level.STANDARD)
    assert prod.policy == Policy(
        Level.STRICT,
        CheckSet.STRICT,
        BackupRule.ALWAYS,
        SmokeSet.FULL,
        bake_s=300.0,
        lease_s=90.0,
        smoke_every_s=None,
        accept=("disk",),
        triggers=Triggers(error_points=0.1, slow_answer_s=3.0),
        rehearsal=Trial.ALWAYS,
        verify=Trial.ALWAYS,
    )


def test_numbers_in_the_domain_are_plain(tmp_path: Path) -> None:
    """Records are serialised by type, so a subclass of float must not leave this package."""
    app = load(written(tmp_path, FULL), "prod", ENVIRON)
    policy = app.environment.policy
    numbers = [policy.bake_s, policy.triggers.probe_interval_s, app.components["backend"].stop_grace_s]
    assert {type(number) for number in numbers} == {float}
    assert type(app.components["backend"].memory) is int


@pytest.mark.parametrize(
    ("policy", "level", "bake_s", "every"),
    [
        ("{}", Level.BASIC, 10.0, None),
        ("{name: strict}", Level.STRICT, 600.0, 5.0),
        ("{name: standard, bake: 0s, smoke_every: 2s}", Level.STANDARD, 0.0, 2.0),
    ],
)
def test_a_policy_starts_from_its_name(
    policy: str, level: Level, bake_s: float, every: float | None, tmp_path: Path
) -> None:
    text = GOOD.replace("dev: {", f"dev: {{policy: {policy}, ")
    found = load(written(tmp_path, text), "dev", {}).environment.policy
    assert (found.level, found.bake_s, found.smoke_every_s) == (level, bake_s, every)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ('":443"', Bind("", 443)),
        ('"*:80"', Bind("", 80)),
        ('"[::1]:8080"', Bind("::1", 8080)),
        ('"localhost:1"', Bind("localhost", 1)),
        ("0.0.0.0:65535", Bind("0.0.0.0", 65535)),
    ],
)
def test_binds(bind: str, expected: Bind, tmp_path: Path) -> None:
    text = GOOD.replace('"127.0.0.1:8080"', bind)
    assert load(written(tmp_path, text), "dev", {}).environment.bind == expected


@pytest.mark.parametrize(
    ("written_as", "size"),
    [
        ("512m", 512 * 1024**2),
        ("1g", 1024**3),
        ("10240k", 10 * 1024**2),
        ("8388608", 8388608),
        ("8388608b", 8388608),
        ("1G", 1024**3),
    ],
)
def test_memory(written_as: str, size: int, tmp_path: Path) -> None:
    text = GOOD.replace("512m", written_as)
    assert load(written(tmp_path, text), "dev", {}).components["backend"].memory == size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("012", "012"),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("7", "7"),
        ("'true'", "true"),
        ("'1.10'", "1.10"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("''", ""),
        ("é", "é"),
    ],
)
def test_scalars_keep_what_is_written(value: str, expected: str, tmp_path: Path) -> None:
    text = GOOD.replace("MODE: production", f"MODE: {value}")
    assert load(written(tmp_path, text), "dev", {}).components["backend"].env == {"MODE": expected}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${A}", "one"),
        ("<${A}-${B}>", "<one-${A}>"),
        ("$${A}", "${A}"),
        ("$$", "$"),
        ("$A $", "$A $"),
        ("$$$${A}", "$${A}"),
        ("${N}", "7"),
        ("${E}", ""),
        ("${T}", "true"),
    ],
)
def test_expansion(value: str, expected: str, tmp_path: Path) -> None:
    text = GOOD.replace("MODE: production", f"MODE: '{value}'")
    environ = {"A": "one", "B": "${A}", "N": "7", "E": "", "T": "true"}
    assert load(written(tmp_path, text), "dev", environ).components["backend"].env == {"MODE": expected}


def test_expansion_of_a_number_and_never_of_a_key(tmp_path: Path) -> None:
    text = GOOD.replace("port: 8000", "port: ${PORT}")
    assert load(written(tmp_path, text), "dev", {"PORT": "9"}).components["backend"].port == 9
    [problem] = check(written(tmp_path, GOOD.replace("MODE:", '"${KEY}":')), {"KEY": "MODE"})
    assert problem.message.startswith("the name must be a variable name")


def test_a_variable_of_another_environment_may_be_missing(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("file: prod.env", "file: '${PROD_FILE}'"))
    assert load(path, "dev", {}).environment.name == "dev"
    with pytest.raises(
        ConfigError, match=r"backstay\.yml:22: environments\.prod\.secrets\.file: .*PROD_FILE"
    ):
        load(path, "prod", {})


def test_an_unknown_environment(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'no environment "prdo"; did you mean "prod"\? \(there are: dev, prod\)'
    ) as told:
        load(written(tmp_path, GOOD), "prdo", {})
    assert told.value.exit_status == 2


def test_anchors_and_merges(tmp_path: Path) -> None:
    text = GOOD.replace("  dev: {", "  dev: &base {network: n, ").replace(
        '  prod:\n    router: {bind: "127.0.0.1:8443"}\n', "  prod:\n    <<: *base\n    network: m\n"
    )
    path = written(tmp_path, text)
    assert [p for p in check(path, {}) if p.severity is Severity.ERROR] == []
    prod = load(path, "prod", {}).environment
    assert (prod.network, prod.bind.port, prod.secrets_file) == ("m", 8080, str(tmp_path / "prod.env"))


def test_an_environment_may_be_empty(tmp_path: Path) -> None:
    head = "app: a\ncomponents: {web: {image: a, port: 80}}\nroutes: [{path: /, component: web}]\n"
    path = written(tmp_path, f"{head}environments:\n  dev:\n")
    assert check(path, {}) == []
    assert load(path, "dev", {}).environment.secrets_file is None


def test_one_folder_for_all_backups(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("app: shop", "app: shop\nbackups: dumps"))
    assert load(path, "dev", {}).environment.backups == str(tmp_path / "dumps" / "dev")


@pytest.mark.parametrize(
    ("store", "expected"), [("postgresql://u@h/d", None), ("~/s.db", None), ("/s.db", None)]
)
def test_stores_that_say_where_they_are(store: str, expected: None, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("app: shop", f"app: shop\nstore: {store}"))
    assert load(path, "dev", {}).store == store


def test_warnings_and_notices(tmp_path: Path) -> None:
    told = [str(problem).partition(":")[2] for problem in check(written(tmp_path, FULL), ENVIRON)]
    keys = {
        text.split(": ")[0].split(":")[-1] + " " + text.split(": ")[1] + " " + text.split(": ")[2]
        for text in told
    }
    assert keys == {
        "30 warning environments.prod.router.bind",
        "7 notice components.backend.workdir",
        "27 notice environments.uat.router.bind",
    }
    assert "30: warning" in told[0]
    assert "T0KEN" not in "".join(told)


def test_a_smoke_test_that_no_route_takes(tmp_path: Path) -> None:
    path = written(
        tmp_path, GOOD.replace("  - {path: /, component: frontend}\n", "").replace("/api/v1/,", "/x,")
    )
    assert "no route takes this path" in "".join(map(str, check(path, {})))


@pytest.mark.parametrize("store", ["a$$b.db", "sqlite:////s.db", "~/s.db", "${HOOK}"])
def test_the_outline_agrees_with_the_whole(store: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("app: shop", f"app: shop\nstore: {store}"))
    seen, app = outline(path, ENVIRON), load(path, "dev", ENVIRON)
    assert (seen.app, seen.environments, seen.store) == ("shop", ("dev", "prod"), app.store)


@pytest.mark.parametrize("text", ["- a\n", "text\n", "", "app: [a\n", "app: shop\n"])
def test_no_outline(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        outline(written(tmp_path, text), {})


def test_find_goes_up(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find(below) == tmp_path / "backstay.yml"


def test_find_nothing(tmp_path: Path) -> None:
    (tmp_path / "backstay.yaml").touch()
    with pytest.raises(ConfigError, match=r"no backstay\.yml in") as told:
        find(tmp_path)
    assert "rename" in str(told.value.hint)


def test_state_home() -> None:
    assert state_home({"BACKSTAY_HOME": "/x"}) == Path("/x")
    expected = Path("/var/lib/backstay") if os.geteuid() == 0 else Path("/home/u/.local/state/backstay")
    assert state_home({"HOME": "/home/u"}) == expected


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, backstay.config; print(*sorted({'yaml', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_names_of_the_package_survive_their_use(tmp_path: Path) -> None:
    """A submodule of the same name would replace the function once it is imported."""
    path = written(tmp_path, GOOD)
    assert check(path, {}) == []
    assert show(path, "dev", {}) and json_schema()
    import backstay.config as package

    assert package.show is show and package.check is check and package.load is load


SCHEDULED = """
app: shop
components: {web: {image: shop, port: 80}}
routes: [{path: /, component: web}]
database: {url_secret: A, replication_url_secret: R, continuous: true, base_after: 2g, canary: false}
environments:
  dev:
    secrets: {file: a}
    continuous: false
    schedule: {backup: off, restore_drill: "5  4 * * 0"}
    policy: {rto: 1h, rpo: 90m}
  prod: {secrets: {file: a}}
"""


def test_schedules_objectives_and_continuous_protection(tmp_path: Path) -> None:
    path = written(tmp_path, SCHEDULED)
    dev, prod = (load(path, name, {}).environment for name in ("dev", "prod"))
    assert (dev.schedule, prod.schedule) == (Schedule(None, "5 4 * * 0"), Schedule("0 2 * * *", "0 4 1 * *"))
    assert (dev.policy.objective, prod.policy.objective) == (Objective(3600, 5400), Objective(300, 900))
    assert (dev.continuous, prod.continuous) == (None, Continuous("R", 2 * 1024**3, canary=False))
    assert dev.database is not None and prod.database is not None
    assert (dev.database.kind, prod.database.kind) == (None, BackupKind.PHYSICAL)


@pytest.mark.parametrize(
    ("database", "secret"),
    [
        ("{url_secret: A}", "A"),
        ("{url_secret: A, backup_url_secret: B}", "B"),
        ("{url_secret: A, backup_url_secret: B, replication_url_secret: C}", "C"),
    ],
)
def test_wal_is_received_by_the_role_that_backs_up_unless_another_is_named(
    database: str, secret: str, tmp_path: Path
) -> None:
    text = GOOD.replace("{url_secret: DATABASE_URL}", database).replace(
        "  dev: {", "  dev: {continuous: true, "
    )
    continuous = load(written(tmp_path, text), "dev", {}).environment.continuous
    assert continuous is not None and continuous.replication_url_secret == secret
