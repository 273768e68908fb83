"""Age encryption of what a backup consists of, as a stream: memory does not grow with the backup."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

from backstay.adapters.postgres.files import Draft
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

SUFFIX: Final = ".age"


def check_recipients(keys: Sequence[str]) -> None:
    """DatabaseError for what is no age recipient (age1…), before anything was begun."""
    _recipients(keys)


class Encrypting:
    """A sink that encrypts into a draft. As a context manager it has written everything when the block ended well."""

    def __init__(self, draft: Draft, keys: Sequence[str]) -> None:
        self._draft = draft
        self._keys = _recipients(keys)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Encrypting:
        source, sink = os.pipe()
        self._source, self._pipe = os.fdopen(source, "rb"), os.fdopen(sink, "wb", buffering=0)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._thread.join()
        if kind is None and self._fault is not None:
            raise self._fault

    @property
    def written(self) -> int:
        return self._draft.written

    def write(self, data: bytes) -> None:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._pipe.write(rest) or 0 :]
        except BrokenPipeError:
            self._thread.join()
            raise (self._fault or DatabaseError("the encryption ended early")) from None

    def _run(self) -> None:
        import pyrage

        try:
            with self._source:
                pyrage.encrypt_io(self._source, _Writer(self._draft), self._keys)
        except BaseException as error:  # noqa: BLE001 - handed over to who waits for the thread
            self._fault = self._draft.fault or error


class _Writer:
    """What pyrage writes to. Its own errors lose what happened, so the draft remembers."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def write(self, data: bytes) -> int:
        try:
            self._draft.write(bytes(data))
        except OSError as error:
            self._draft.fault = error
            raise
        return len(data)

    def flush(self) -> None:
        return


@contextlib.contextmanager
def sink(draft: Draft, keys: Sequence[str]) -> Iterator[Draft | Encrypting]:
    """Where to write what becomes `draft`: through age when there are keys."""
    if not keys:
        yield draft
        return
    with Encrypting(draft, keys) as made:
        yield made


def encrypt_file(path: Path, keys: Sequence[str], each_chunk: Callable[[], None]) -> Path:
    """Encrypt a file into one beside it, and remove it. `each_chunk` may raise to give it up. DatabaseError,
    OSError."""
    import pyrage

    target = path.with_name(path.name + SUFFIX)
    with path.open("rb") as source, open(target, "xb", opener=_private) as into:
        reader = _Reader(source, each_chunk)
        try:
            pyrage.encrypt_io(reader, into, _recipients(keys))
        except pyrage.EncryptError as error:
            raise reader.fault or DatabaseError(f"{path.name} cannot be encrypted: {error}") from None
    path.unlink()
    return target


class _Reader:
    """What pyrage reads from; its own errors lose what happened."""

    def __init__(self, source: IO[bytes], each_chunk: Callable[[], None]) -> None:
        self._source = source
        self._each_chunk = each_chunk
        self.fault: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            self._each_chunk()
            return self._source.read(size)
        except BaseException as error:
            self.fault = error
            raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def decrypt_to(path: Path, into: IO[bytes], identity: Secret | None) -> None:
    """Decrypt a whole file into `into`. DatabaseError when the identity is missing, is another, or the file changed."""
    import pyrage

    with path.open("rb") as source:
        try:
            pyrage.decrypt_io(source, into, [_identity(identity, path)])
        except (pyrage.DecryptError, OSError) as error:
            raise _undecrypted(path, error) from None


def encrypt_text(text: str, keys: Sequence[str]) -> str:
    """A short text in age's own armor."""
    import pyrage

    return bytes(pyrage.encrypt(text.encode(), _recipients(keys), armored=True)).decode()


def decrypt_text(text: str, identity: Secret | None, dump: Path) -> str:
    """What `encrypt_text` was given, of the backup `dump`. DatabaseError as `decrypt_to`."""
    import pyrage

    try:
        return bytes(pyrage.decrypt(text.encode(), [_identity(identity, dump)])).decode()
    except pyrage.DecryptError as error:
        raise _undecrypted(dump, error) from None


def _undecrypted(path: Path, error: Exception) -> DatabaseError:
    return DatabaseError(
        f"{path.name} cannot be decrypted: {error}",
        hint="is the identity (database.identity_secret) one of those it was encrypted to?",
    )


def _recipients(keys: Sequence[str]) -> list[Any]:
    import pyrage

    found = []
    for key in keys:
        try:
            found.append(pyrage.x25519.Recipient.from_str(key))
        except pyrage.RecipientError:
            raise DatabaseError(
                f"{key!r} is no age recipient",
                hint="one looks like age1…; age-keygen -y shows that of an identity",
            ) from None
    return found


def _identity(identity: Secret | None, path: Path) -> Any:
    import pyrage

    if identity is None:
        raise DatabaseError(
            f"{path.name} is encrypted, and there is no identity to decrypt it with",
            hint="name the secret that holds it (AGE-SECRET-KEY-…) by database.identity_secret",
        )
    # A file of age-keygen has comments around the key.
    lines = [line.strip() for line in identity.reveal().splitlines()]
    key = next((line for line in lines if line.startswith("AGE-SECRET-KEY-")), "")
    try:
        return pyrage.x25519.Identity.from_str(key)
    except pyrage.IdentityError:
        raise DatabaseError(
            "the age identity is none",
            hint="it looks like AGE-SECRET-KEY-1…; mend the secret database.identity_secret",
        ) from None
