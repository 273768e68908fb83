"""Prove the backup by a restore, and where the policy wants it try the release on the copy, before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstay.domain.backup import Backup
from backstay.domain.deployment import Wish
from backstay.domain.plan import wants_rehearsal
from backstay.domain.rehearsal import Outlook
from backstay.domain.secret import Secret
from backstay.domain.step import StepRecord, Truth
from backstay.errors import BackupFailed
from backstay.pipeline.rehearse import Rehearsal, RehearsalRefused, images_of, rehearse, sweep
from backstay.pipeline.run import Run
from backstay.pipeline.trial import RehearsalOrder
from backstay.pipeline.verify import NotVerified, VerifyOrder, verify


class RehearseStep:
    """Law 6. A verdict of `breaking` ends the deployment, unless `--maintenance` allows it: then the result says so.

    The result has `verdict` (None where only the backup was verified), `reasons`, `warnings`, `statements`, `locks` …
    and `backup`, what the restore proved.
    """

    name = "rehearse"
    title = "restore the backup and try the release on the copy"

    def do(self, run: Run) -> dict[str, Any]:
        backup = _backup_of(run)
        try:
            if not wants_rehearsal(run.plan, run.environment):
                return _verified(run, backup)
            found = rehearse(run.world, backup, _order(run), _Teller(run))
        except BackupFailed:
            run.heed()  # who asked for the end gets that, and not what came of it
            raise
        document = found.as_document()
        self._tell(run, found, document)
        outlook = found.judgement.outlook
        if outlook is Outlook.FAILED or (outlook is Outlook.BREAKING and not run.plan.maintenance):
            raise RehearsalRefused(found, run.environment.name, run.release.version)
        return document

    def probe(self, run: Run, record: StepRecord) -> Truth:
        """What an owner that died left may still run."""
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Nothing of it was meant to stay. What a dead owner left goes; what lives is another's."""
        for told in sweep(run.world, run.environment.app, run.environment.name):
            run.tell("rehearsal_swept", told, step=self.name)

    def _tell(self, run: Run, found: Rehearsal, document: Mapping[str, Any]) -> None:
        judged = found.judgement
        words = "; ".join(judged.reasons)
        message = f"{run.release.version} is {judged.outlook}" + (f": {words}" if words else "")
        run.tell("rehearsal_ended", message, step=self.name, **_redacted(run, document))
        for warning in judged.warnings:
            run.tell("rehearsal_warned", warning, step=self.name)
        for note in found.notes:
            run.tell("rehearsal_noted", note, step=self.name)


class _Teller:
    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, kind: str, message: str, **data: Any) -> None:
        self._run.tell(kind, message, step=RehearseStep.name, **_redacted(self._run, data))


def _redacted(run: Run, value: Any) -> Any:
    """JSON with every secret value taken out: statements and output are the application's own words."""
    if isinstance(value, str):
        return run.redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(run, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(run, each) for each in value]
    return value


def _backup_of(run: Run) -> Backup:
    id_ = run.result("backup").get("backup")
    for backup in run.world.store.backups(run.environment.app, run.environment.name):
        if backup.id == id_:
            return backup
    raise BackupFailed(
        f"the backup {id_} of this deployment is not in the catalog", state="the old release serves"
    )


def _verified(run: Run, backup: Backup) -> dict[str, Any]:
    """Only the restore: the policy wants no rehearsal."""
    source = run.environment.database
    order = VerifyOrder(
        source.scratch if source else "auto",
        run.environment.policy.backup_limits,
        identity=_identity(run),
        stopped=lambda: _is_stopped(run),
    )
    found = verify(run.world, backup, order)
    if not found.ok:
        raise NotVerified(found)
    run.tell("backup_verified", f"{backup.id} is verified by a restore", step=RehearseStep.name)
    return {"verdict": None, "reasons": [], "statements": [], "backup": found.as_document()}


def _order(run: Run) -> RehearsalOrder:
    previous = run.plan.previous
    return RehearsalOrder(
        environment=run.environment,
        release=run.release,
        images=images_of(run.world.engine, run.release, run.login),
        migrating=run.plan.migrating,
        previous=previous,
        previous_images=images_of(run.world.engine, previous, run.login) if previous else {},
        secrets=run.secrets,
        unused=run.plan.unused,
        deployment=run.id,
        identity=_identity(run),
        stopped=lambda: _is_stopped(run),
    )


def _identity(run: Run) -> Secret | None:
    source = run.environment.database
    return source.identity_in(run.secrets) if source else None


def _is_stopped(run: Run) -> bool:
    return run.lost.is_set() or run.world.store.wish(run.id) is Wish.ABORT
