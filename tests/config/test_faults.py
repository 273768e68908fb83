"""Every kind of fault: the line it is reported at, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.config import Severity, check, load
from backstay.errors import ConfigError
from tests.config.samples import GOOD, written

# name: (text in the good file, what stands there instead, line of the fault, part of the message)
EDITS: dict[str, tuple[str, str, int, str]] = {
    "unknown top key": (
        "app: shop",
        "app: shop\nregistr: {}",
        2,
        'registr: unknown key; did you mean "registry"?',
    ),
    "unknown component key": (
        "    health:",
        "    helth:",
        6,
        'backend.helth: unknown key; did you mean "health"?',
    ),
    "unknown health key": ("interval: 500ms", "intervall: 1s", 6, 'did you mean "interval"?'),
    "unknown key, nothing near": (
        "    memory: 512m",
        "    zzz: 1",
        10,
        "zzz: unknown key; allowed here: image, port",
    ),
    "approvals": ("bake: 10m", "approvals: {required: 1}", 23, "policy.approvals: unknown key"),
    "canary": ("bake: 10m", "canary: [5, 25, 100]", 23, "policy.canary: unknown key"),
    "tls": ('{bind: "127.0.0.1:8443"}', '{bind: ":443", tls: {}}', 21, "router.tls: unknown key"),
    "cors": (
        "    secrets: {file: prod.env}",
        "    secrets: {file: a}\n    cors: {}",
        23,
        "prod.cors: unknown key",
    ),
    "unknown trigger": ("failed_probes", "failed_probe", 23, 'did you mean "failed_probes"?'),
    "missing image": (
        "    image: registry.example/shop-backend\n",
        "",
        3,
        'components.backend: the key "image" is missing',
    ),
    "missing port": (", port: 80}", "}", 11, 'components.frontend: the key "port" is missing'),
    "missing app": ("app: shop\n", "", 1, 'the key "app" is missing'),
    "missing route component": (
        ", component: backend}",
        "}",
        13,
        'routes[0]: the key "component" is missing',
    ),
    "missing bind is fine, empty is not": (
        'bind: "127.0.0.1:8443"',
        "bind: ",
        21,
        "router.bind: has no value",
    ),
    "app in capitals": ("app: shop", "app: Shop", 1, "app: must be lower-case letters"),
    "app is a number": ("app: shop", "app: 12", 1, "app: must be lower-case letters"),
    "component name": (
        "  frontend:",
        "  Front_end:",
        11,
        "components.Front_end: the name must be lower-case",
    ),
    "long component name": ("  frontend:", f"  {'f' * 41}:", 11, "at most 40 long"),
    "environment name": ("  prod:", "  prod eu:", 20, 'environments["prod eu"]: the name must be'),
    "image with tag": ("shop-backend", "shop-backend:v1", 4, "image: must have no tag: a release supplies"),
    "image with tag only": ("registry.example/shop-backend", "shop:1", 4, "image: must have no tag"),
    "image with digest": ("shop-backend", "shop-backend@sha256:00", 4, "image: must have no digest"),
    "image in capitals": ("shop-backend", "Shop", 4, "image: must be an image name"),
    "port 0": ("port: 8000", "port: 0", 5, "backend.port: must be a whole number from 1 to 65535"),
    "port too big": ("port: 8000", "port: 65536", 5, "from 1 to 65535"),
    "port is text": ("port: 8000", "port: http", 5, "from 1 to 65535"),
    "port is true": ("port: 8000", "port: true", 5, "from 1 to 65535"),
    "port is a fraction": ("port: 8000", "port: 80.5", 5, "from 1 to 65535"),
    "port in octal": ("port: 8000", "port: 0o17", 5, "from 1 to 65535"),
    "health is a list": (
        "{path: /health/, interval: 500ms}",
        "[/health/]",
        6,
        "health: must be a mapping of keys",
    ),
    "health path": ("/health/", "health", 6, "health.path: must be a path that begins with /"),
    "health path with blank": ("/health/", "'/a b'", 6, "health.path: must be a path"),
    "duration without unit": ("500ms", "5", 6, "interval: must be a duration with a unit, like 500ms"),
    "duration unit": ("500ms", "5d", 6, "interval: must be a duration with a unit"),
    "duration of nothing": ("500ms", "0s", 6, "interval: must be longer than 0s"),
    "endless duration": ("500ms", "999999h", 6, "interval: must be at most 168h"),
    "interval over deadline": ("500ms", "3m", 6, "interval: the interval must be shorter than the deadline"),
    "env is a list": ("{MODE: production}", "[MODE=production]", 7, "env: must be a mapping of keys"),
    "env value is true": ("MODE: production", "MODE: true", 7, "env.MODE: must be text; write it in quotes"),
    "env value is a fraction": (
        "MODE: production",
        "MODE: 1.10",
        7,
        "env.MODE: must be text; write it in quotes",
    ),
    "env name": ("MODE: production", "MY-MODE: x", 7, "env.MY-MODE: the name must be a variable name"),
    "env value is empty": ("MODE: production", "MODE: ", 7, "env.MODE: has no value"),
    "secret in env too": ("MODE: production", "DATABASE_URL: x", 8, "DATABASE_URL is in env too"),
    "secrets is text": ("secrets: [DATABASE_URL]", "secrets: DATABASE_URL", 8, "secrets: must be a list"),
    "secret twice": (
        "[DATABASE_URL]",
        "[A, DATABASE_URL, A]",
        8,
        "secrets[2]: A is there twice; first at line 8",
    ),
    "secret name": ("[DATABASE_URL]", "[DATABASE-URL]", 8, "secrets[0]: must be a variable name"),
    "volume without path": ("media:/srv/media", "media", 9, "volumes[0]: must be NAME:/PATH"),
    "relative host folder": ("media:/srv/media", "./media:/srv", 9, "volumes[0]: must be NAME:/PATH"),
    "volume mode": ("media:/srv/media", "media:/srv:rx", 9, "with :ro at the end"),
    "two volumes at a path": ('["media:/srv/media"]', '["a:/srv", "b:/srv/:ro"]', 9, "/srv is there twice"),
    "memory unit": ("512m", "512t", 10, "memory: must be a size in bytes"),
    "too little memory": ("512m", "512", 10, "memory: must be at least 6m"),
    "command is text": ("    memory: 512m", "    command: run it", 10, "command: must be a list"),
    "route to nowhere": (
        "component: backend",
        "component: backnd",
        13,
        'no such component; did you mean "backend"?',
    ),
    "route far off": (
        "component: backend",
        "component: zzz",
        13,
        "no such component; there are: backend, frontend",
    ),
    "route twice": ("{path: /, ", "{path: /api, ", 14, "routes[1].path: the route at line 13 takes the same"),
    "route path": ("path: /api/", "path: api", 13, "routes[0].path: must be a path"),
    "route with query": ("path: /api/", "path: '/api?x'", 13, "routes[0].path: must be a path"),
    "route is text": (
        "{path: /api/, component: backend}",
        "/api/",
        13,
        "routes[0]: must be a mapping of keys",
    ),
    "no secrets file": (
        ", secrets: {file: dev.env}",
        "",
        19,
        "environments.dev: components.backend and database want secrets",
    ),
    "database secret": (
        "{url_secret: DATABASE_URL}",
        "{url_secret: 'postgresql://x'}",
        15,
        "must be a variable name",
    ),
    "scratch": (
        "{url_secret: DATABASE_URL}",
        "{url_secret: A, scratch: here}",
        15,
        "must be auto, url:URL or container:IMAGE",
    ),
    "smoke twice": (
        "environments:",
        "  - {name: api root, path: /}\nenvironments:",
        18,
        "the same name twice; it is at line 17",
    ),
    "smoke status": ("status: 200", "status: 20", 17, "status: must be a whole number from 100 to 599"),
    "smoke method": ("status: 200}", "status: 200}, method: get", 17, "must be one of GET, HEAD"),
    "smoke json": (
        "status: 200",
        "json: {database: x}",
        17,
        'json.database: the name must be a JSONPath, like "$.database"',
    ),
    "smoke header": ("status: 200", "header: {'a b': x}", 17, "the name must be a header name"),
    "header injection": (
        "status: 200",
        'header: {a: "x\\r\\ny: z"}',
        17,
        "header.a: must be printable ASCII",
    ),
    "bind without port": ('"127.0.0.1:8080"', '"127.0.0.1"', 19, "router.bind: must be HOST:PORT or :PORT"),
    "bind is a number": ('"127.0.0.1:8080"', "8080", 19, 'write ":8080" for every address'),
    "bind port": ('"127.0.0.1:8080"', '":0"', 19, "the port from 1 to 65535"),
    "bind big port": ('"127.0.0.1:8080"', '":70000"', 19, "the port from 1 to 65535"),
    "bind host": ('"127.0.0.1:8080"', '"127.0.0.256:80"', 19, "the host is not an IP address"),
    "remote host": (
        "dev: {",
        'dev: {hosts: ["ssh://deploy@one"], ',
        19,
        "hosts: must be [local]: several or remote",
    ),
    "several hosts": (
        "dev: {",
        "dev: {hosts: [local, other], ",
        19,
        "several or remote hosts are not built yet",
    ),
    "engine": ("dev: {", "dev: {engine: podman, ", 19, "engine: must be docker, the only engine"),
    "process engine": ("dev: {", "dev: {engine: process, ", 19, "the process engine is not built yet"),
    "network": (
        "dev: {",
        "dev: {network: host, ",
        19,
        "network: must be a network with addresses of its own",
    ),
    "network name": ("dev: {", "dev: {network: 'a b', ", 19, "network: must be the name of a network"),
    "url": ("dev: {", "dev: {url: shop.example, ", 19, "url: must be a URL that begins with http"),
    "notify": ("dev: {", "dev: {notify: [everyone], ", 19, "notify[0]: must be a notification URL"),
    "ports": ("dev: {", "dev: {ports: 20000, ", 19, "ports: must be a range like 20000-20999"),
    "ports backwards": ("dev: {", "dev: {ports: 20999-20000, ", 19, "ports: must be a range"),
    "few ports": ("dev: {", "dev: {ports: 20000-20002, ", 19, "ports: must hold at least 4 ports"),
    "policy is a name": (
        "{bake: 10m, triggers: {failed_probes: 3}}",
        "strict",
        23,
        "policy: must be a mapping of keys",
    ),
    "policy name": (
        "bake: 10m",
        "name: stirct",
        23,
        'must be one of basic, standard, strict; did you mean "strict"?',
    ),
    "backup rule": ("bake: 10m", "backup: never", 23, "backup: must be one of migration, always"),
    "bake": ("bake: 10m", "bake: long", 23, "bake: must be a duration"),
    "failed probes": ("failed_probes: 3", "failed_probes: 0", 23, "must be a whole number from 1"),
    "share in percent": ("failed_probes: 3", "error_points: 5", 23, "must be a share from 0 to 1"),
    "window": ("failed_probes: 3", "sample_window: 11m", 23, "must be from 1s to 10m"),
    "missing variable": (
        "file: prod.env",
        "file: '${NOT_SET}'",
        22,
        "environment variable NOT_SET is not set",
    ),
    "default in a variable": ("file: prod.env", "file: '${A:-b}'", 22, "only ${NAME} is expanded"),
    "open variable": ("file: prod.env", "file: '${A'", 22, "only ${NAME} is expanded"),
    "duplicate key": (
        "    memory: 512m",
        "    memory: 1g\n    port: 1",
        11,
        "backend.port: the same key twice; it is at line 5",
    ),
    "duplicate component": (
        "  frontend:",
        "  backend:",
        11,
        "components.backend: the same key twice; it is at line 3",
    ),
    "duplicate environment": (
        "  prod:",
        "  dev:",
        20,
        "environments.dev: the same key twice; it is at line 19",
    ),
    "number as key": ("    memory: 512m", "    1: x", 10, 'a key must be text; write "1" in quotes'),
    "null as key": ("    memory: 512m", "    ~: x", 10, "a key must be text"),
    "list as key": ("    memory: 512m", "    [a]: x", 10, "a key must be text"),
    "tag": ("app: shop", "app: !secret x", 1, "app: the tag !secret is not supported"),
    "python tag": ("app: shop", "app: !!python/name:os.system x", 1, "is not supported"),
    "misfitting tag": ("app: shop", "app: !!int x", 1, "does not fit the value"),
    "recursive alias": ("{MODE: production}", "&a {MODE: *a}", 7, "an alias that contains itself"),
    "recursive list": ("[DATABASE_URL]", "&a [*a]", 8, "an alias that contains itself"),
    "recursive merge": ("{MODE: production}", "&a {<<: *a}", 7, "<< wants a mapping"),
    "merge of text": ("{MODE: production}", "{<<: x}", 7, "<< wants a mapping"),
    "unknown alias": ("app: shop", "app: *nowhere", 1, "not YAML: found undefined alias"),
    "tab": ("    port: 8000", "\tport: 8000", 5, "not YAML: found character '\\t'"),
    "open bracket": ("[DATABASE_URL]", "[DATABASE_URL", 9, "not YAML: "),
    "control character": ("app: shop", "app: sh\x07op", 1, "not YAML: the character U+0007 is not allowed"),
    "two documents": ("routes:", "---\nroutes:", 12, "a second document begins here"),
}

TEXTS: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "empty; at least app, components and environments are needed"),
    "only a comment": ("# nothing\n", 1, "empty; at least"),
    "a list": ("- app\n", 1, "must be a mapping of keys"),
    "text": ("hello\n", 1, "must be a mapping of keys"),
    "too large": (b"#" * (1024 * 1024 + 1), 0, "larger than 1 MiB"),
    "latin-1": ("app: shop\n# caf\xe9\n".encode("latin-1"), 2, "not UTF-8"),
    "utf-16": ("app: shop\n".encode("utf-16"), 1, "not UTF-8"),
    "deep": ("a: " + "[" * 500, 1, "nested more than 32 levels deep"),
    "billion laughs": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        1,
        "more than 50000 values, aliases included",
    ),
    "no components": (
        "app: a\ncomponents: {}\nroutes: []\nenvironments: {dev: }\n",
        2,
        "components: must not be empty",
    ),
}


def _faulty(name: str) -> str:
    old, new, _, _ = EDITS[name]
    assert GOOD.count(old) >= 1, f"{old!r} is not in the good file"
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_reported_where_it_is(name: str, tmp_path: Path) -> None:
    _, _, line, message = EDITS[name]
    path = written(tmp_path, _faulty(name))
    problems = [problem for problem in check(path, {}) if problem.severity is Severity.ERROR]
    told = [str(problem) for problem in problems]
    assert any(text.startswith(f"{path}:{line}: ") and message in text for text in told), told
    assert all(problem.position.column >= 1 for problem in problems if problem.position.line)


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_refused_whole(name: str, tmp_path: Path) -> None:
    content, line, message = TEXTS[name]
    path = written(tmp_path, content)
    place = f"{path}:{line}: " if line else f"{path}: "
    told = [str(problem) for problem in check(path, {})]
    assert any(text.startswith(place) and message in text for text in told), told
    with pytest.raises(ConfigError):
        load(path, "dev", {})


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    [problem] = check(tmp_path / "backstay.yml", {})
    assert "cannot be read: No such file or directory" in str(problem)


def test_all_faults_come_at_once_in_order_of_lines(tmp_path: Path) -> None:
    text = GOOD
    names = [
        "app in capitals",
        "port 0",
        "secret twice",
        "route to nowhere",
        "bind port",
        "missing variable",
    ]
    for name in names:
        old, new, _, _ = EDITS[name]
        text = text.replace(old, new, 1)
    problems = check(written(tmp_path, text), {})
    assert [problem.position.line for problem in problems] == [1, 5, 8, 13, 19, 22]


def test_a_value_gets_one_fault(tmp_path: Path) -> None:
    """The unexpanded text is no path either, but saying so would only distract."""
    text = GOOD.replace("path: /api/,", "path: '${NOWHERE}',")
    problems = check(written(tmp_path, text), {})
    assert [problem.message for problem in problems] == [
        "the environment variable NOWHERE is not set; write $$ for a dollar sign"
    ]


@pytest.mark.parametrize("url", ["slack hooks/T0KEN/B0KEN", "T0KEN"])
def test_no_message_repeats_a_notification_url(url: str, tmp_path: Path) -> None:
    text = GOOD.replace("dev: {", f"dev: {{notify: ['{url}'], ")
    assert "T0KEN" not in "".join(map(str, check(written(tmp_path, text), {})))
