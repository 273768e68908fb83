"""Ports for `backstay serve`, and what it looks after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backstay import wiring

if TYPE_CHECKING:
    from backstay.domain.environment import Environment
    from backstay.pipeline.prune import Teller
    from backstay.pipeline.serve import Serve
    from backstay.ports.calendar import Calendar
    from backstay.ports.children import Children
    from backstay.ports.clock import Clock
    from backstay.ports.database import Database
    from backstay.ports.host import Host
    from backstay.ports.manager import Manager
    from backstay.ports.store import Store
    from backstay.ports.wal import Receiver, WalArchive, WalServer


@dataclass(frozen=True, slots=True)
class ServePorts:
    """What `serve` works with."""

    store: Store
    host: Host
    clock: Clock
    calendar: Calendar
    children: Children
    database: Database
    archive: WalArchive
    server: WalServer
    receiver: Receiver


def serve_ports(where: wiring.Place, store: Store, config: Path) -> ServePorts:
    """All ports of `serve`, wired. `config` is the configuration file that the commands it starts read."""
    from backstay.adapters.calendar import CronCalendar
    from backstay.adapters.children import OwnCommands
    from backstay.adapters.postgres.receiver import PgReceivewal
    from backstay.adapters.postgres.wal_archive import WalFolder
    from backstay.adapters.postgres.wal_server import PostgresWalServer

    return ServePorts(
        store=store,
        host=wiring.host(),
        clock=wiring.clock(),
        calendar=CronCalendar(),
        children=OwnCommands(config, where.home),
        database=wiring.database(),
        archive=WalFolder(),
        server=PostgresWalServer(),
        receiver=PgReceivewal(),
    )


def serve(where: wiring.Place, ports: ServePorts, tell: Teller) -> Serve:
    """Everything that is looked after, before it is told which environments there are."""
    from backstay.errors import SecretsError
    from backstay.pipeline.serve import Serve
    from backstay.pipeline.wal import Watch, WatchOrder

    def watch_of(environment: Environment) -> Watch | None:
        folder, continuous = wiring.wal_folder(where, environment), environment.continuous
        if folder is None or continuous is None:
            return None
        name = continuous.replication_url_secret
        url = wiring.secrets(environment).read().get(name)
        if not url:
            raise SecretsError(
                f"the secret {name} is missing or empty", hint=f"set it in {environment.secrets_file}"
            )

        def named(kind: str, message: str, **data: Any) -> None:
            tell(kind, f"{environment.name}: {message}", **data)

        rpo_s = environment.policy.rpo_s
        order = WatchOrder(environment.app, environment.name, url, folder, continuous, rpo_s)
        return Watch(ports, order, named)

    return Serve(ports, tell, watch_of, lambda environment: wiring.wal_folder(where, environment))


def manager(environ: Mapping[str, str]) -> Manager:
    """The service manager that started us, if one did."""
    from backstay.adapters.manager import Systemd

    return Systemd(environ)
