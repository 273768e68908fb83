"""Where notifications go from this process: the file log, and the receivers whose URLs it was given."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from backstay.adapters.notify import log
from backstay.domain.notification import ATTEMPT_DEADLINE_S, LOG, Delivery, Notification
from backstay.domain.secret import Secret


class OutsideReceivers:
    """Implements ports.receivers.Receivers. `deadline_s` bounds one attempt as a whole."""

    def __init__(
        self, home: Path, urls: Iterable[Secret] = (), deadline_s: float = ATTEMPT_DEADLINE_S
    ) -> None:
        self._log = home / log.NAME
        self._urls = {url.fingerprint(): url for url in urls}
        self._deadline_s = deadline_s

    @property
    def targets(self) -> tuple[str, ...]:
        return (LOG.target, *self._urls)

    def deliver(self, notification: Notification) -> Delivery:
        if notification.target == LOG.target:
            return log.append(self._log, notification)
        return self._within_deadline(self._urls[notification.target], notification)

    def _within_deadline(self, url: Secret, notification: Notification) -> Delivery:
        """Time-outs of sockets count from the last byte, so a receiver that drips could hold us for ever: the
        attempt has a thread of its own, which is left to itself when its time is over."""
        answer: list[Delivery] = []

        def attempt() -> None:
            from backstay.adapters.notify.chat import send

            answer.append(send(url, notification))

        trying = threading.Thread(target=attempt, daemon=True)
        trying.start()
        trying.join(self._deadline_s)
        return answer[0] if answer else Delivery(f"the receiver did not answer within {self._deadline_s:g} s")
