"""Bytes and inodes where images, volumes, backups and state live, against what a deployment will write there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backstay.domain.check import Severity
from backstay.domain.room import BACKUP_GROWTH, SCRATCH_COPIES, Need, by_filesystem, image_need, show_bytes
from backstay.domain.scratch import Source, Where
from backstay.errors import BackstayError, CheckFailed
from backstay.pipeline.check import Check, Finding, NotChecked
from backstay.pipeline.checks.artifact import manifest_of
from backstay.pipeline.checks.scratch import is_wanted
from backstay.pipeline.checks.subject import Subject

MIB: Final = 2**20
STATE: Final = (64 * MIB, 1000)
ENGINE: Final = (256 * MIB, 5000)
FOLDER: Final = (16 * MIB, 100)
"""What the state, the engine (logs and layers of containers) and any other place must have left: bytes, inodes."""


def disk(subject: Subject) -> Check:
    def look() -> Finding:
        unseen: list[str] = []
        placed = []
        for need in _needs(subject, unseen):
            space = subject.host.space(need.path)
            if space is None:
                unseen.append(f"{need.path} cannot be looked at")
            else:
                placed.append((need, space))
        systems = by_filesystem(placed)
        faults = [fault for system in systems for fault in system.faults]
        if faults:
            raise CheckFailed(
                "; ".join(faults), hint="free space (docker system df, old backups), or give it more disk"
            )
        enough = "; ".join(
            f"{s.space.path}: {show_bytes(s.space.free_bytes)} free, {show_bytes(s.bytes)} needed"
            for s in systems
        )
        if unseen:
            return Finding("; ".join([*([enough] if enough else []), *unseen]), Severity.NOTICE)
        return Finding(enough)

    return Check("disk", look)


def _needs(subject: Subject, unseen: list[str]) -> Iterator[Need]:
    """What will be written where; what cannot be known is put into `unseen`."""
    environment = subject.environment
    yield Need("state", subject.home, *STATE)
    if environment.database is not None:
        last = subject.store.backups(environment.app, environment.name)[:1]
        size = int(last[0].bytes * BACKUP_GROWTH) if last else 0
        yield Need("backup", environment.backups, size + FOLDER[0], FOLDER[1])
        if is_wanted(subject):
            yield from _scratch(subject, unseen)
    for component in subject.components.values():
        for volume in component.volumes:
            if volume.startswith("/"):
                yield Need(f"volume of {component.name}", volume.partition(":")[0], *FOLDER)
    try:
        subject.answering()
    except NotChecked as told:
        unseen.append(f"images: {told.message}")
        return
    root = subject.seen().info.root
    if not root:
        unseen.append("the engine does not tell where it keeps images")
        return
    yield Need("engine", root, *ENGINE)
    for name in subject.images:
        packed = _missing(subject, name)
        if packed is None:
            unseen.append(f"the size of {name}'s layers is not known")
        elif packed:
            yield Need(f"image of {name}", root, *image_need(packed))


def _scratch(subject: Subject, unseen: list[str]) -> Iterator[Need]:
    """Where the backup will be restored to, unless that is a server somewhere else."""
    assert subject.environment.database is not None
    place = Where.parse(subject.environment.database.scratch)
    if place.source is not Source.AUTO:
        return
    size = subject.database_bytes()
    if size is None:
        unseen.append("how much room a scratch copy of the database needs is not known")
    else:
        yield Need("scratch copies", subject.home, size * SCRATCH_COPIES, FOLDER[1])


def _missing(subject: Subject, name: str) -> int | None:
    """Packed bytes still to be fetched for a component; None when nobody tells."""
    wanted = subject.images[name]
    try:
        digest = wanted.digest or manifest_of(subject, wanted).digest
        return subject.engine.missing_bytes(wanted.component.image, digest, subject.login)
    except BackstayError:  # the checks of registry and manifest tell it
        return None
