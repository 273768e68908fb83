"""A plain application with a database of its own, and `backstay serve` over it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from backstay.adapters.store import open_reader
from backstay.domain.backup import Backup
from backstay.domain.schedule import Duty, DutyRun
from backstay.ports.store import Reader
from tests.real.plain import PlainApp
from tests.world import World
from tests.world.processes import wait_until


class Served(PlainApp):
    """Used as a context manager, it leaves nothing behind."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world

    def open(self) -> None:
        """The application alone, without a database."""
        super().__enter__()

    def shut(self) -> None:
        super().__exit__(None, None, None)

    def __enter__(self) -> Served:
        self.open()
        self.urls = self.world.create_database(self.name)
        self.world.query("CREATE TABLE t AS SELECT generate_series(1, 10) n", self.name)
        self.world.query(f'ALTER TABLE t OWNER TO "{self.name}"', self.name)
        config = self.folder / "backstay.yml"
        config.write_text(config.read_text() + "database: {url_secret: DATABASE_URL}\n")
        secrets = self.folder / "secrets.env"
        secrets.write_text(secrets.read_text() + f"DATABASE_URL={self.urls['host']}\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
        self.world.drop_database(self.name)

    @contextmanager
    def looked_after(self, **env: str) -> Iterator[subprocess.Popen[str]]:
        """A serve that is ready, killed at the end if it still runs. Its log begins anew."""
        with (self.folder / "serve.log").open("w") as log:
            process = subprocess.Popen(
                self.argv("serve"), env={**self.env, **env}, cwd=self.folder, stderr=log, stdout=log, text=True,
                start_new_session=True,
            )  # fmt: skip
        try:
            assert wait_until(lambda: "looking after" in self.log or process.poll() is not None, 20), self.log
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(20)

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def document(self, *words: str) -> Any:
        """What a command says with --json, whatever its exit status."""
        return json.loads(self.run(*words, "--json").out.splitlines()[-1])

    @property
    def store(self) -> Reader:
        return open_reader(self.home / "state.db")

    def backups(self) -> list[Backup]:
        """Newest first."""
        return self.store.backups(self.name, "dev")

    def runs(self, duty: Duty) -> list[DutyRun]:
        return self.store.duty_runs(self.name, "dev", duty)
