"""Domain objects as JSON text and as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from cattrs import Converter
from cattrs.errors import BaseValidationError

from backstay.domain.deployment import Deployment
from backstay.domain.lease import LEASE_TIME_S, Lease, Owner, Uptime
from backstay.errors import StoreError

T = TypeVar("T")


def _number(value: Any, _: type[float]) -> float:
    """Leave a whole number whole: the identity of a release hashes its JSON, where 120 and 120.0 differ."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value


CONVERTER: Final = Converter()
CONVERTER.register_structure_hook(float, _number)

DEPLOYMENT_FIELDS: Final = frozenset(field.name for field in fields(Deployment))


def encode(value: Any) -> str:
    """`value` as compact JSON. Raises TypeError for what must not be stored, such as a Secret."""
    return json.dumps(CONVERTER.unstructure(value), separators=(",", ":"), ensure_ascii=False)


def decode(text: str, kind: type[T]) -> T:
    """The `kind` that `encode` made `text` of. Raises StoreError when the text is damaged."""
    try:
        return CONVERTER.structure(json.loads(text), kind)
    except (ValueError, BaseValidationError) as error:
        raise _damaged(kind, error) from error


def decode_mapping(text: str) -> dict[str, Any]:
    """A JSON object. Raises StoreError when the text is damaged."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _damaged(dict, error) from error
    if not isinstance(value, dict):
        raise _damaged(dict, ValueError(f"{type(value).__name__} instead of an object"))
    return value


def from_row(row: Mapping[str, Any], kind: type[T]) -> T:
    """A dataclass from a row whose columns carry the names of its fields; other columns are left alone."""
    try:
        return CONVERTER.structure(row, kind)
    except (ValueError, BaseValidationError) as error:
        raise _damaged(kind, error) from error


def lease_from(row: Mapping[str, Any]) -> Lease | None:
    """The lease in a row; None when it is free."""
    if row["owner"] is None:
        return None
    return Lease(
        app=row["app"],
        environment=row["environment"],
        token=row["token"],
        owner=decode(row["owner"], Owner),
        purpose=row["purpose"],
        deployment=row["deployment"],
        acquired_at=row["acquired_at"],
        expires_at=row["expires_at"],
        lasts_s=LEASE_TIME_S if row["lasts_s"] is None else row["lasts_s"],
        beat=row["beat"] or 0,
        heard=None if row["heard_boot"] is None else Uptime(row["heard_boot"], row["heard_at"]),
    )


def lease_values(lease: Lease) -> dict[str, Any]:
    """The columns of a held lease that change while it is held."""
    heard = lease.heard
    return {
        "owner": encode(lease.owner),
        "purpose": lease.purpose,
        "expires_at": lease.expires_at,
        "lasts_s": lease.lasts_s,
        "beat": lease.beat,
        "heard_boot": heard.boot_id if heard else None,
        "heard_at": heard.at if heard else None,
    }


def to_row(value: Any) -> dict[str, Any]:
    """The columns of a flat dataclass: enums as their text."""
    row: dict[str, Any] = CONVERTER.unstructure(value)
    return row


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _damaged(kind: type[Any], error: Exception) -> StoreError:
    cause = "; ".join(str(part) for part in getattr(error, "exceptions", (error,)))
    return StoreError(
        f"the state store holds a {kind.__name__} that cannot be read: {cause}",
        hint="the store was changed by hand or by another version; put back a copy of it",
    )
