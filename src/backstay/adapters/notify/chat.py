"""Receivers that Apprise reaches. Imported only when one is configured: Apprise is heavy.

Apprise answers yes or no and puts the reason into its log, which may hold parts of a URL. So the log is kept from
every handler but ours, and ours passes on nothing but a status number and words of this file.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from datetime import UTC, datetime
from typing import Final

import apprise

from backstay.domain.notification import Delivery, Notification, kind_of, text_of, title_of
from backstay.domain.secret import Secret

_STATUS: Final = re.compile(r"\berror=(\d{3})\b")


class _Reasons(logging.Handler):
    """What Apprise logs, kept apart by thread, because several attempts run at once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = threading.local()

    def begin(self) -> None:
        self._said.lines = []

    def emit(self, record: logging.LogRecord) -> None:
        lines = getattr(self._said, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())

    def reason(self) -> str:
        """Why the attempt of this thread failed, in words that hold nothing of the URL."""
        text = "\n".join(self._said.lines)
        if status := _STATUS.search(text):
            return f"the receiver answered {status[1]}"
        if "onnection error" in text or "ocket" in text:
            return "the receiver cannot be reached, or did not answer"
        return "the receiver did not take it"


_reasons = _Reasons()


def _silence() -> None:
    logger = logging.getLogger("apprise")
    logger.handlers = [_reasons]
    logger.propagate = False
    logger.setLevel(logging.WARNING)


def _load_plugins() -> None:
    """Apprise imports all its services when the first is asked for, and some warn of what Python will drop. Their
    warnings are for their authors, and must not become errors where a user's settings turn warnings into such."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")


_silence()
_load_plugins()


def send(url: Secret, notification: Notification) -> Delivery:
    """One attempt, as long as it takes. Its errors carry nothing of the URL."""
    _reasons.begin()
    asset = apprise.AppriseAsset(app_id="Backstay", app_desc="Backstay", async_mode=False)
    try:
        receiver = apprise.Apprise.instantiate(url.reveal(), asset=asset)
        if receiver is None:
            return Delivery("Apprise cannot make a receiver of this URL; see `notify:` in backstay.yml", True)
        taken = receiver.notify(
            body=text_of(notification, datetime.now(UTC)),
            title=title_of(
                notification.app, notification.environment, notification.status, notification.component
            ),
            notify_type=apprise.NotifyType(kind_of(notification.status)),
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001 - plugins of a hundred services; none may break a deployment
        return Delivery(f"Apprise failed ({type(error).__name__})")
    return Delivery() if taken else Delivery(_reasons.reason())
