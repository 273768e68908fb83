"""JSON documents of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from backstay.domain.backup import Backup
from backstay.domain.deployment import Deployment, DeploymentKind
from backstay.domain.notification import Notification
from backstay.domain.schedule import DutyRun
from backstay.domain.step import Event, StepRecord
from backstay.pipeline.times import rfc3339


def deployment_document(deployment: Deployment, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """The last line of `deploy`, `rollback` and `backup restore`, and a row of `history`."""
    restored = {"restore": _restored(steps)} if deployment.kind is DeploymentKind.RESTORE else {}
    return {
        "deployment": deployment.id,
        "environment": deployment.environment,
        "kind": deployment.kind.value,
        "state": deployment.state.value,
        "release": deployment.version,
        "release_id": deployment.release,
        "previous": deployment.previous_version,
        "failed_step": deployment.failed_step,
        "reason": deployment.reason,
        "hint": deployment.hint,
        "switch_s": deployment.switch_s,
        "rollback_s": deployment.rollback_s,
        "total_s": deployment.total_s,
        "steps": [{"name": s.name, "state": s.state.value, "took_s": s.took_s} for s in steps],
        "backup": deployment.backup,
        "incident": deployment.incident,
        "requested_by": deployment.requested_by,
        "created_at": deployment.created_at,
        "finished_at": deployment.finished_at,
        "exit_status": deployment.exit_status,
        **restored,
    }


def _restored(steps: Sequence[StepRecord]) -> dict[str, Any]:
    """What a restore compared, what went with the live database, and where that is now; empty before it got so far."""
    results = {step.name: step.result for step in steps}
    restored, swapped = results.get("restore", {}), results.get("swap", {})
    proof = restored.get("proof")
    if proof is None:
        return {}
    return {
        **{key: proof[key] for key in ("tables", "rows", "checksums", "differences")},
        "backup": proof["id"],
        "loss": swapped.get("loss", restored["loss"]),
        "replaced": swapped.get("replaced"),
    }


def backup_document(backup: Backup) -> dict[str, Any]:
    """A row of `backup list`, and what `backup create` prints. A failed one has no path."""
    return {
        "id": backup.id,
        "app": backup.app,
        "environment": backup.environment,
        "created_at": backup.created_at,
        "kind": backup.kind,
        "bytes": backup.bytes,
        "state": backup.state.value,
        "pinned": backup.pinned,
        "path": backup.path or None,
        "sha256": backup.sha256 or None,
        "deployment": backup.deployment,
        "reason": backup.reason,
        "verified_at": backup.verified_at,
        "content": backup.content,
        "encrypted": backup.encrypted,
        "copied_at": backup.copied_at,
        "copy_error": backup.copy_error,
        "same_disk": backup.same_disk,
        "alarm": backup.alarm,
        "parent": backup.parent,
        "database": backup.database,
        "server_major": backup.server_major,
        "took_s": backup.took_s,
    }


def event_document(event: Event) -> dict[str, Any]:
    """One line of `events`."""
    return {
        "seq": event.seq,
        "at": event.at,
        "deployment": event.deployment,
        "kind": event.kind,
        "step": event.step,
        "message": event.message,
        "data": dict(event.data),
    }


def notification_document(row: Notification) -> dict[str, Any]:
    """A row of `notifications list`. The channel shows a receiver's scheme and nothing else of its URL."""
    due = row.next_attempt_at
    return {
        "id": row.id,
        "created_at": row.created_at,
        "app": row.app,
        "environment": row.environment,
        "deployment": row.deployment,
        "status": row.status,
        "component": row.component,
        "message": row.message,
        "channel": row.channel,
        "state": row.state.value,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "next_attempt_at": None if due is None else rfc3339(datetime.fromtimestamp(due, UTC)),
    }


def duty_run_document(run: DutyRun) -> dict[str, Any]:
    """A row of `duty list`."""
    return {
        "id": run.id,
        "duty": run.duty.value,
        "due_at": run.due_at,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "outcome": run.outcome.value,
        "by": str(run.owner),
        "detail": run.detail,
    }
