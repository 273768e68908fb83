"""Every fault in the middle of a deploy: the old version keeps serving, nothing is left behind, and the message says
what, why, what state is left and what to do next."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass

import pytest

from tests.real.test_check import listening_in_a_row
from tests.shop import Answer, Shop, free_port
from tests.world import World

pytestmark = pytest.mark.world

V1 = {"backend": "v1", "frontend": "v1"}
PROXY = """
import os, socket, sys, threading
def pour(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
def serve(client):
    engine = socket.socket(socket.AF_UNIX); engine.connect(sys.argv[2])
    threading.Thread(target=pour, args=(client, engine), daemon=True).start()
    pour(engine, client)
door = socket.socket(socket.AF_UNIX); door.bind(sys.argv[1]); door.listen(64); print("open", flush=True)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
"""
ANSWERS_500 = (
    'python -c "import http.server as h;'
    "H=type('H',(h.BaseHTTPRequestHandler,),{'do_GET':lambda s:s.send_error(500)});"
    "h.HTTPServer(('',8000),H).serve_forever()\""
)


class Faulty(Shop):
    """A shop whose configuration, secrets and environment a fault may change; `mend` puts all of it back."""

    extra: dict[str, str]

    def __enter__(self) -> Faulty:
        super().__enter__()
        self.extra = {}
        self.kept = {name: (self.folder / name).read_text() for name in ("backstay.yml", "secrets.env")}
        return self

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, **self.extra}

    def edit(self, old: str, new: str, name: str = "backstay.yml") -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new))

    def command(self, line: str) -> None:
        """Give the backend another command."""
        self.edit("    port: 8000\n", f"    port: 8000\n    command: [sh, -c, {json.dumps(line)}]\n")

    def mend(self) -> None:
        self.extra = {}
        for name, text in self.kept.items():
            (self.folder / name).write_text(text)


@pytest.fixture(scope="module")
def faulty(shop_images: World) -> Iterator[Faulty]:
    """v1 is live; a fault that spoils nothing leaves it so for the next one."""
    with Faulty(shop_images, f"faulty{os.getpid()}", bake="1s", deadline="3s") as shop:
        assert shop.deploy("v1").status == 0
        yield shop


@contextmanager
def nothing(shop: Faulty) -> Iterator[None]:
    yield


@contextmanager
def engine_gone(shop: Faulty) -> Iterator[None]:
    shop.extra = {"DOCKER_HOST": f"unix://{shop.folder}/no-engine.sock"}
    yield


@contextmanager
def engine_frozen(shop: Faulty) -> Iterator[None]:
    """The engine takes connections and says nothing: a stopped process between us and it."""
    path = shop.folder / "engine.sock"
    argv = [sys.executable, "-c", PROXY, str(path), shop.world.docker_host.removeprefix("unix://")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None and proxy.stdout.readline() == b"open\n"
        proxy.send_signal(signal.SIGSTOP)
        shop.extra = {"DOCKER_HOST": f"unix://{path}"}
        yield
        proxy.kill()
        path.unlink()


@contextmanager
def registry_gone(shop: Faulty) -> Iterator[None]:
    shop.extra = {"REGISTRY": f"127.0.0.1:{free_port()}"}
    yield


@contextmanager
def registry_black_hole(shop: Faulty) -> Iterator[None]:
    with closing(socket.create_server(("127.0.0.1", 0))) as hole:
        shop.extra = {"REGISTRY": f"127.0.0.1:{hole.getsockname()[1]}"}
        yield


@contextmanager
def registry_login_wrong(shop: Faulty) -> Iterator[None]:
    shop.edit(
        f"REGISTRY_PASSWORD={shop.world.registry.password}", "REGISTRY_PASSWORD=not-this-one", "secrets.env"
    )
    yield


@contextmanager
def secret_missing(shop: Faulty) -> Iterator[None]:
    shop.edit(f"SECRET_KEY=k-{shop.name}-73xq\n", "", "secrets.env")
    yield


@contextmanager
def ports_taken(shop: Faulty) -> Iterator[None]:
    with ExitStack() as taken:
        first = listening_in_a_row(taken, 4)
        text = (shop.folder / "backstay.yml").read_text()
        line = next(each for each in text.splitlines() if "ports:" in each)
        shop.edit(line, f'    ports: "{first}-{first + 3}"')
        yield


@contextmanager
def backup_disk_full(shop: Faulty) -> Iterator[None]:
    folder = shop.folder / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True)
    try:
        shop.edit("    engine: docker\n", f"    engine: docker\n    backups: {folder}\n")
        yield
        assert [path.name for path in folder.iterdir() if path.stat().st_size] == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def database_gone(shop: Faulty) -> Iterator[None]:
    lines = (shop.folder / "secrets.env").read_text().splitlines()
    url = next(line for line in lines if line.startswith("BACKUP_URL="))
    head, _, tail = url.rpartition("@")
    shop.edit(url, f"{head}@127.0.0.1:{free_port()}/{tail.partition('/')[2]}", "secrets.env")
    yield


@contextmanager
def database_password_wrong(shop: Faulty) -> Iterator[None]:
    lines = (shop.folder / "secrets.env").read_text().splitlines()
    url = next(line for line in lines if line.startswith("BACKUP_URL="))
    head, _, tail = url.rpartition("@")
    shop.edit(url, f"{head.rpartition(':')[0]}:not-this-one@{tail}", "secrets.env")
    yield


@contextmanager
def migration_fails(shop: Faulty) -> Iterator[None]:
    shop.edit(
        "migrate: [python, manage.py, migrate, --noinput]", "migrate: [sh, -c, 'echo no such column; exit 3']"
    )
    yield


@contextmanager
def migration_hangs(shop: Faulty) -> Iterator[None]:
    shop.edit("migrate: [python, manage.py, migrate, --noinput]", "migrate: [sleep, '600']")
    shop.edit("policy: {", "policy: {migrate_deadline: 2s, ")
    yield


@contextmanager
def migration_waits_for_a_lock(shop: Faulty) -> Iterator[None]:
    """On a table that no request touches; without a backup, which would wait for it too."""
    shop.edit("policy: {", "policy: {lock_timeout: 1s, ")
    shop.edit("database: {url_secret: DATABASE_URL, backup_url_secret: BACKUP_URL}\n", "")
    sql = "alter table held add column x int"
    script = f"import os, psycopg; psycopg.connect(os.environ['DATABASE_URL']).execute('{sql}')"
    shop.edit("[python, manage.py, migrate, --noinput]", json.dumps(["python", "-c", script]))
    with subprocess.Popen(
        ["psql", "-q", shop.urls["host"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write("create table held (id int); begin; lock table held; select 'locked';\n")
        holder.stdin.flush()
        while "locked" not in holder.stdout.readline():
            pass
        yield
        holder.stdin.write("rollback; drop table held;\n")
        holder.stdin.close()


@contextmanager
def exits_at_once(shop: Faulty) -> Iterator[None]:
    shop.command("echo cannot find settings; exit 3")
    yield


@contextmanager
def never_listens(shop: Faulty) -> Iterator[None]:
    shop.command("exec sleep 600")
    yield


@contextmanager
def listens_elsewhere(shop: Faulty) -> Iterator[None]:
    shop.command("exec python -m http.server 8001")
    yield


@contextmanager
def answers_500(shop: Faulty) -> Iterator[None]:
    shop.command(f"exec {ANSWERS_500}")
    yield


@contextmanager
def admin_socket_gone(shop: Faulty) -> Iterator[None]:
    path = shop.folder / "h" / "router" / f"{shop.name}.dev" / "admin.sock"
    path.rename(path.with_suffix(".away"))
    yield
    path.with_suffix(".away").rename(path)


@dataclass(frozen=True)
class Fault:
    """What breaks, how the deploy must end, and words its reason must have."""

    breaks: Callable[[Faulty], AbstractContextManager[None]]
    status: int
    words: tuple[str, ...]
    version: str = "v2"


FAULTS = {
    "the engine is gone": Fault(engine_gone, 10, ("no-engine.sock",)),
    "the engine hangs": Fault(engine_frozen, 10, ("did not answer within 30 s",)),
    "the registry is gone": Fault(registry_gone, 10, ("registry",)),
    "the registry is a black hole": Fault(registry_black_hole, 10, ("registry",)),
    "the registry refuses the login": Fault(registry_login_wrong, 10, ("login",)),
    "the tag is missing": Fault(nothing, 10, ("v77",), "v77"),
    "a secret is missing": Fault(secret_missing, 10, ("SECRET_KEY",)),
    "all ports are taken": Fault(ports_taken, 20, ("no free loopback port",)),
    "the disk of the backups is full": Fault(backup_disk_full, 30, ("free space",)),
    "PostgreSQL is down": Fault(database_gone, 30, ("refused",)),
    "PostgreSQL refuses the password": Fault(database_password_wrong, 30, ("password",)),
    "the migration fails": Fault(migration_fails, 20, ("ended with 3", "no such column")),
    "the migration hangs": Fault(migration_hangs, 20, ("did not end within 2 s", "migrate_deadline")),
    "the migration waits for a lock": Fault(migration_waits_for_a_lock, 20, ("lock timeout",)),
    "the container exits at once": Fault(
        exits_at_once, 20, ("before it was healthy", "cannot find settings")
    ),
    "the container never listens": Fault(never_listens, 20, ("not healthy within 3.0 s",)),
    "the container listens elsewhere": Fault(listens_elsewhere, 20, ("not healthy within 3.0 s",)),
    "the container answers 500": Fault(answers_500, 20, ("500",)),
    "HAProxy's admin socket is gone": Fault(admin_socket_gone, 20, ("HAProxy", "holder.log")),
}


def containers_and_slots(shop: Faulty) -> tuple[set[str], object, object]:
    status = shop.status()
    return set(shop.containers()), status["live"], status["standby"]


def told(answer: Answer) -> str:
    """Everything that a person sees: the document's reason and hint, or the error."""
    document = answer.lines[-1] if answer.out.strip() else {}
    return " ".join(str(document.get(key) or "") for key in ("reason", "hint")) + answer.err


@pytest.mark.parametrize("name", FAULTS)
def test_the_old_version_keeps_serving_and_nothing_is_left(faulty: Faulty, name: str) -> None:
    fault, shop = FAULTS[name], faulty
    before = containers_and_slots(shop)
    with shop.load(keep_alive=2, fresh=1, posts=1, slow=0, websockets=0) as load:
        load.until(lambda seen: seen.requests > 10)
        with fault.breaks(shop):
            answer = shop.deploy(fault.version)
        shop.mend()
        report = load.stop()
    assert answer.status == fault.status, answer.out + answer.err
    said = told(answer)
    assert all(word in said for word in fault.words), said
    assert "Traceback" not in said
    assert report.failed == 0, report.failures[:3]
    assert shop.serving() == V1
    assert containers_and_slots(shop) == before
    status = shop.status()
    assert status["lock"] is None and status["drift"] == [] and status["deployment"] is None
    left = [path for path in (shop.folder / "h").rglob("*") if path.name.endswith((".partial", ".next"))]
    assert left == []


def test_after_all_of_that_the_next_deploy_works(faulty: Faulty) -> None:
    assert faulty.deploy("v2").status == 0
    assert faulty.serving() == {"backend": "v2", "frontend": "v2"}
    faulty.run("rollback", "dev")
