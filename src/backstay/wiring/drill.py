"""Ports for restore drills and recoveries to a moment, and where the evidence of a drill is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backstay import wiring

if TYPE_CHECKING:
    from backstay.domain.environment import Environment
    from backstay.ports.clock import Clock
    from backstay.ports.database import Database
    from backstay.ports.engine import Engine
    from backstay.ports.host import Host
    from backstay.ports.linter import Linter
    from backstay.ports.prober import Prober
    from backstay.ports.scratch import Scratches
    from backstay.ports.store import Store
    from backstay.ports.wal import WalArchive, WalServer


@dataclass(frozen=True, slots=True)
class DrillPorts:
    """What a restore drill, and a recovery to a moment, work with."""

    store: Store
    engine: Engine
    prober: Prober
    database: Database
    scratches: Scratches
    linter: Linter
    clock: Clock
    host: Host
    archive: WalArchive
    server: WalServer


def drill_ports(where: wiring.Place, environment: Environment, store: Store) -> DrillPorts:
    """All ports of a drill, wired."""
    from backstay.adapters.postgres.wal_archive import WalFolder
    from backstay.adapters.postgres.wal_server import PostgresWalServer

    return DrillPorts(
        store=store,
        engine=wiring.engine(where, environment),
        prober=wiring.prober(),
        database=wiring.database(),
        scratches=wiring.scratches(where, environment),
        linter=wiring.linter(),
        clock=wiring.clock(),
        host=wiring.host(),
        archive=WalFolder(),
        server=PostgresWalServer(),
    )


def keep_evidence(where: wiring.Place, environment: str, name: str, text: str) -> Path:
    """Write the evidence of a drill where it stays; the path. Raises StoreError when the disk does not obey."""
    from backstay.adapters.files import write_durably
    from backstay.errors import StoreError

    folder = where.home / "drills" / environment
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(folder / name, text)
    except OSError as error:
        raise StoreError(f"the evidence cannot be written to {folder}: {error.strerror}") from error
    return folder / name
