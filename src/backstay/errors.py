"""Every error Backstay reports, on one screen.

    BackstayError                      1   a bug of ours: an error id and where the report lies
    ├── UsageError                     2   a wrong argument
    │   └── ConfigError                2   a wrong backstay.yml: file, line, key, what is allowed
    ├── CheckFailed                   10   a check, smoke test or verification failed; nothing was changed
    ├── Locked                        11   somebody else holds the environment
    ├── NotAllowed                    12   quarantine, freeze or missing approval
    ├── StepFailed                    20   a step of the runbook failed
    │   └── Aborted                  130   ended on request
    ├── NeedsAttention                21   neither forward nor back is proven good
    ├── BackupFailed                  30   backup, restore or rehearsal failed
    ├── LeaseLost                     20   somebody took the environment over; this process must stop
    └── adapters, translated by the step that meets them (20 when nobody does):
        EngineError · RegistryError · RouterError · StoreError · DatabaseError · SecretsError

An error says what failed and why; `hint` is the next command or the usual cure; `state` what was left behind.
"""

from __future__ import annotations

from typing import ClassVar


class BackstayError(Exception):
    """Root of the tree. `exit_status` is what a command that ends with it returns."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, state: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.state = state


class UsageError(BackstayError):
    """An argument or an option is wrong, or names something that does not exist."""

    exit_status = 2


class ConfigError(UsageError):
    """backstay.yml (or a secrets file) is wrong; the message has one line per fault, with file and line."""


class CheckFailed(BackstayError):
    """A check before anything was changed failed."""

    exit_status = 10


class Locked(BackstayError):
    """The environment is held by somebody else; the message says by whom, since and until when."""

    exit_status = 11


class NotAllowed(BackstayError):
    """The release is quarantined, a freeze is on, or an approval is missing."""

    exit_status = 12


class StepFailed(BackstayError):
    """A step could not reach its end; the saga reverses what was started."""

    exit_status = 20


class Aborted(StepFailed):
    """Somebody asked the deployment to stop, and it did so safely."""

    exit_status = 130


class LeaseLost(BackstayError):
    """The token is stale: somebody took the environment over. The holder of it must not act any more."""

    exit_status = 20


class NeedsAttention(BackstayError):
    """A person has to decide; the better slot keeps serving."""

    exit_status = 21


class BackupFailed(BackstayError):
    """No backup came to be; nothing was lost."""

    exit_status = 30


class EngineError(BackstayError):
    """The container engine refused, failed or did not answer in time."""

    exit_status = 20


class RegistryError(EngineError):
    """The registry refused the login, does not have the image, or cannot be reached."""


class RouterError(BackstayError):
    """HAProxy or its holder refused, failed or did not answer in time."""

    exit_status = 20


class StoreError(BackstayError):
    """The state store cannot be opened, read or written."""

    exit_status = 20


class DatabaseError(BackstayError):
    """The application's database or one of its tools failed."""

    exit_status = 20


class SecretsError(BackstayError):
    """A secrets file is missing, readable by others, or malformed."""

    exit_status = 2
