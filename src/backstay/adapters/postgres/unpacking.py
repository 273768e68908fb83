"""One file of a backup as it was before it was compressed and encrypted, into a file or a pipe."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from backstay.adapters.postgres.crypt import SUFFIX as ENCRYPTED
from backstay.adapters.postgres.crypt import decrypt_to
from backstay.adapters.postgres.tools import failed, find_compressor
from backstay.adapters.postgres.watch import TICK_S
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

COMPRESSED: Final = ".zst"


class Unpacking:
    """`path` (….zst, ….age, or both) unpacked into `target`, a file or subprocess.PIPE. Nothing of it runs after the
    block; `finish` says whether it came to a good end."""

    def __init__(self, path: Path, identity: Secret | None, target: IO[bytes] | int) -> None:
        self._path = path
        self._identity = identity
        self._target = target
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Unpacking:
        self._said = TemporaryFile()
        encrypted = self._path.name.endswith(ENCRYPTED)
        with contextlib.ExitStack() as stack:
            source = None if encrypted else stack.enter_context(self._path.open("rb"))
            self.process = subprocess.Popen(
                self._argv(), stdin=source or subprocess.PIPE, stdout=self._target, stderr=self._said
            )
        if encrypted:
            self._thread = threading.Thread(target=self._decrypt, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self._thread is not None:
            self._thread.join()
        self._said.close()

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def fault(self) -> DatabaseError | None:
        """Why it could not be decrypted, once it has ended; None when it could."""
        if self._thread is not None:
            self._thread.join(TICK_S)
        return self._fault if isinstance(self._fault, DatabaseError) else None

    def finish(self, each_tick: Callable[[], None]) -> None:
        """Wait for its end; `each_tick` may raise to give it up. DatabaseError when it failed."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TICK_S)
                break
            each_tick()
        if self._thread is not None:
            self._thread.join()
        if self.process.returncode != 0 and not isinstance(self._fault, DatabaseError):
            self._said.seek(0)
            raise failed(Path(self._argv()[0]).name, self.process.returncode, self._said.read(1 << 16))
        if self._fault is not None:
            raise self._fault

    def _argv(self) -> list[str]:
        if not self._path.name.removesuffix(ENCRYPTED).endswith(COMPRESSED):
            return ["cat"]
        zstd = find_compressor()
        if zstd is None:
            raise DatabaseError("zstd is not installed", hint="apt-get install zstd")
        return [zstd, "-q", "-dc"]

    def _decrypt(self) -> None:
        assert self.process.stdin is not None
        try:
            with self.process.stdin as into:
                decrypt_to(self._path, into, self._identity)
        except BaseException as error:  # noqa: BLE001 - handed over to who waits for the thread
            # What came so far must not look like the whole.
            self.process.kill()
            self._fault = error


def plain_bytes(path: Path, identity: Secret | None) -> bytes:
    """A small file, whole."""
    with TemporaryFile() as into:
        with Unpacking(path, identity, into) as unpacking:
            unpacking.finish(lambda: None)
        into.seek(0)
        return into.read()


def written_by(process: subprocess.Popen[bytes]) -> int:
    """Bytes that it wrote so far; 0 where the kernel does not say."""
    try:
        counts = Path(f"/proc/{process.pid}/io").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in counts.splitlines() if line.startswith("wchar:")), 0)
