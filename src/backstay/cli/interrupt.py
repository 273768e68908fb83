"""What Ctrl-C and SIGTERM mean to a command whose work a detached worker does.

Until the deployment is recorded they end the command, and nothing has begun. From then on the first Ctrl-C is a wish:
whoever follows passes it on to the worker, which aborts safely. The second, and a SIGTERM, only end the command. So a
CI runner that cancels a job (Ctrl-C, SIGTERM 7.5 s later, SIGKILL after another 2.5 s) gets its abort, and nobody
who is ended harms the worker.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from backstay.cli.output import put

INTERRUPTED_STATUS = 130
TERMINATED_STATUS = 143
NOTHING_BEGUN = "nothing was changed"


class Left(BaseException):
    """The command is left without waiting for the end. Not an Exception: nobody may take it for a failure.

    `begun`: there may be a deployment by now, and its worker goes on.
    """

    def __init__(self, status: int, *, begun: bool) -> None:
        super().__init__(status)
        self.status = status
        self.begun = begun


class Interrupts:
    """Heeds both signals while it is entered, unless whoever started us had us ignore them.

    `begun`: there is a deployment already. `asked`: its abort was asked for, so the first Ctrl-C leaves.
    """

    def __init__(self, environment: str, *, begun: bool = False, asked: bool = False) -> None:
        self.environment = environment
        self.begun = begun
        self.asked = asked
        self.wanted = False

    def begin(self) -> None:
        """From here on there may be a deployment, and Ctrl-C is a wish to abort it."""
        self.begun = True

    def __enter__(self) -> Interrupts:
        wanted = (n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN)
        self._before = {number: signal.signal(number, self._heed) for number in wanted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Left) and error.begun:
            doing = "aborting" if self.wanted or self.asked else "working"
            put(
                f"left without waiting; the worker goes on {doing}: backstay attach {self.environment} follows it",
                err=True,
            )

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            raise Left(TERMINATED_STATUS, begun=self.begun)
        if not self.begun:
            raise KeyboardInterrupt(NOTHING_BEGUN)
        if self.wanted or self.asked:
            raise Left(INTERRUPTED_STATUS, begun=True)
        self.wanted = True
