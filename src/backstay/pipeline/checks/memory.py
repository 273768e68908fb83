"""Memory for one more slot beside the one that serves."""

from __future__ import annotations

from backstay.domain.check import Severity
from backstay.domain.room import SlotMemory, show_bytes
from backstay.errors import CheckFailed
from backstay.pipeline.check import Check, Finding
from backstay.pipeline.checks.subject import Subject


def memory(subject: Subject) -> Check:
    def look() -> Finding:
        have = subject.host.memory()
        starting = [name for name in subject.components if not subject.images or name in subject.images]
        slot = SlotMemory({name: subject.components[name].memory for name in starting})
        if beyond := slot.beyond(have):
            raise CheckFailed(
                f"{', '.join(beyond)}: the memory limit is more than the host has ({show_bytes(have.total)})",
                hint=f"lower components.{beyond[0]}.memory, or take a larger host",
            )
        uncounted = f"; no limit, not counted: {', '.join(slot.unlimited)}" if slot.unlimited else ""
        if have.available < slot.total:
            return Finding(
                f"{show_bytes(have.available)} are available, the limits of one more slot add up to "
                f"{show_bytes(slot.total)}{uncounted}",
                Severity.WARNING,
                "both slots run at once for a while: free memory, lower the limits, or take a larger host",
            )
        return Finding(
            f"{show_bytes(have.available)} available, {show_bytes(slot.total)} for one more slot{uncounted}"
        )

    return Check("memory", look)
