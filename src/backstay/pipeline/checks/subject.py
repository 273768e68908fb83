"""What is checked, and what several checks ask in common: asked once, while all of them run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from backstay.domain.environment import Environment
from backstay.domain.release import Component
from backstay.domain.room import Reach
from backstay.domain.secret import Secret, redact
from backstay.errors import BackstayError, CheckFailed
from backstay.pipeline.check import NotChecked
from backstay.pipeline.checks.address import DatabaseAddress, address_of
from backstay.ports.clock import Clock
from backstay.ports.database import Database
from backstay.ports.engine import Engine, EngineInfo, Login, Manifest
from backstay.ports.host import Host
from backstay.ports.router import Router
from backstay.ports.scratch import Scratches
from backstay.ports.store import Reader

ENGINE_S = 5.0
DATABASE_S = 5.0
SOON_S = 2.0
"""For those to whom an answer would help, but who can do without."""

T = TypeVar("T")


class Once(Generic[T]):
    """A question that several threads wait for and one asks, in a thread that nobody has to wait for."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asked = False
        self._answered = threading.Event()
        self._answer: T
        self._error: Exception | None = None

    def get(self, deadline_s: float) -> T:
        """The answer, or the error that came instead; TimeoutError when neither came within `deadline_s`."""
        with self._lock:
            if not self._asked:
                self._asked = True
                threading.Thread(target=self._work, daemon=True).start()
        if not self._answered.wait(deadline_s):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._answer

    def _work(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            self._error = error
        finally:
            self._answered.set()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that must be there: `version` is a tag or a digest, `digest` what a tag must still lead to."""

    component: Component
    version: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The engine's answer with our clock, seconds since the epoch, before and after it."""

    info: EngineInfo
    before: float
    after: float


@dataclass
class Subject:
    """An environment, the components that would start in it, and the ports to ask.

    `components` are those of the configuration; `images` those that would start, by name (empty when neither a
    version was named nor anything is live). `token` is that of our own lease. `id` makes names unique.
    """

    environment: Environment
    components: Mapping[str, Component]
    images: Mapping[str, Wanted]
    id: str
    store: Reader
    engine: Engine
    router: Router
    database: Database
    read_secrets: Callable[[], Mapping[str, Secret]]
    host: Host
    clock: Clock
    home: str
    scratches: Scratches
    token: int | None = None
    manifests: dict[tuple[str, str], Once[Manifest]] = field(default_factory=dict)
    _secrets: Once[Mapping[str, Secret]] = field(init=False)
    _seen: Once[Seen] = field(init=False)
    _reached: Once[Reach] = field(init=False)

    def __post_init__(self) -> None:
        self._secrets = Once(self.read_secrets)
        self._seen = Once(self._look)
        self._reached = Once(self._reach)

    @property
    def secrets(self) -> Mapping[str, Secret]:
        """The environment's secrets; SecretsError when their file cannot be read."""
        return self._secrets.get(ENGINE_S)

    def secret(self, name: str) -> Secret:
        """One secret; NotChecked when it is not there, which is told by the check of variables."""
        try:
            found = self.secrets.get(name)
        except BackstayError:
            raise NotChecked(f"the secret {name} cannot be read") from None
        if not found:
            raise NotChecked(f"the secret {name} is not set")
        return found

    @property
    def login(self) -> Login | None:
        """The registry login, None when none is configured; NotChecked when its secrets are not set."""
        source = self.environment.registry
        if source is None:
            return None
        return Login(self.secret(source.username_secret).reveal(), self.secret(source.password_secret))

    def redact(self, text: str) -> str:
        try:
            values = self.secrets.values()
        except (BackstayError, TimeoutError):
            return text
        return redact(text, values)

    def seen(self) -> Seen:
        """What the engine says of itself. Raises EngineError, or CheckFailed when it hangs."""
        try:
            return self._seen.get(ENGINE_S)
        except TimeoutError:
            raise CheckFailed(
                f"the engine did not answer within {ENGINE_S:g} s",
                hint="see whether 'docker ps' answers; if not, look at the engine's log and restart it",
            ) from None

    def answering(self) -> Engine:
        """The engine, known to answer; NotChecked when it does not, which is told by a check of its own."""
        try:
            self.seen()
        except BackstayError:
            raise NotChecked("the engine does not answer") from None
        return self.engine

    def reached(self) -> Reach:
        """The database as it is reached from here. Raises DatabaseError, or NotChecked without a URL."""
        return self._reached.get(2 * DATABASE_S)

    def database_bytes(self) -> int | None:
        """The size of the database; None while it is not reached, which is told by a check of its own."""
        try:
            return self._reached.get(SOON_S).bytes
        except (BackstayError, NotChecked, TimeoutError):
            return None

    def address(self) -> DatabaseAddress:
        """Where the application finds its database; NotChecked when its URL cannot be read."""
        assert self.environment.database is not None
        name = self.environment.database.url_secret
        found = address_of(self.secret(name).reveal())
        if found is None:
            raise NotChecked(f"the secret {name} is no PostgreSQL URL", hint=f"mend {name}")
        return found

    def _look(self) -> Seen:
        before = self.clock.now().timestamp()
        info = self.engine.info()
        return Seen(info, before, self.clock.now().timestamp())

    def _reach(self) -> Reach:
        assert self.environment.database is not None
        url = self.secret(self.environment.database.backup_url_secret)
        return self.database.reach(url, self.address().role, DATABASE_S)
