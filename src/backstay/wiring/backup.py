"""Ports for backups: made, looked at, verified, restored, and what was replaced by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backstay import wiring

if TYPE_CHECKING:
    from backstay.domain.environment import Environment
    from backstay.ports.clock import Clock
    from backstay.ports.cluster import Clusters
    from backstay.ports.database import Database
    from backstay.ports.scratch import Scratches
    from backstay.ports.store import Reader, Store
    from backstay.ports.wal import WalArchive


@dataclass(frozen=True, slots=True)
class BackupPorts:
    """What a backup outside a deployment works with."""

    store: Store
    database: Database
    clock: Clock


def backup_ports(store: Store) -> BackupPorts:
    """All ports of a backup, wired."""
    return BackupPorts(store, wiring.database(), wiring.clock())


@dataclass(frozen=True, slots=True)
class BackupLook:
    """What a look at backups, or before a restore, needs; nothing of it writes."""

    store: Reader
    database: Database


def backup_look(where: wiring.Place) -> BackupLook:
    """The catalog and the disk, to look at."""
    return BackupLook(wiring.open_reader(where), wiring.database())


@dataclass(frozen=True, slots=True)
class VerifyPorts:
    """What the verification of a backup works with."""

    store: Store
    database: Database
    scratches: Scratches
    clock: Clock


def verify_ports(store: Store, where: wiring.Place, environment: Environment | None) -> VerifyPorts:
    """All ports of a verification, wired."""
    return VerifyPorts(store, wiring.database(), wiring.scratches(where, environment), wiring.clock())


@dataclass(frozen=True, slots=True)
class ReplacedPorts:
    """What looking after replaced databases needs."""

    store: Reader
    clusters: Clusters
    clock: Clock


def replaced_ports(store: Reader) -> ReplacedPorts:
    """All ports of looking after replaced databases, wired."""
    return ReplacedPorts(store, wiring.clusters(), wiring.clock())


@dataclass(frozen=True, slots=True)
class ProtectionPorts:
    """What a look at an environment's protection needs; nothing of it writes."""

    store: Reader
    archive: WalArchive
    database: Database
    clock: Clock


def protection_ports(store: Reader) -> ProtectionPorts:
    """All ports of a look at the objectives, wired."""
    from backstay.adapters.postgres.wal_archive import WalFolder

    return ProtectionPorts(store, WalFolder(), wiring.database(), wiring.clock())
