"""A web server over TLS with a certificate made for the test by the openssl command."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.http.raw_server import response


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


def make_certificate(
    folder: Path, name: str = "localhost", days: int = 90, begins: str | None = None
) -> Pair:
    """Self-signed for the host `name`, for `days` from now, or from `begins` (YYYYmmddHHMMSSZ) to a day later."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    span = ["-days", str(days)]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
            "-keyout", str(pair.key), "-out", str(pair.certificate)]  # fmt: skip
    if begins is not None:
        request = folder / "request.pem"
        _run([*argv[:2], *argv[3:-1], str(request)])
        _sign(folder, request, pair, begins)
    else:
        _run([*argv, *span])
    return pair


def _sign(folder: Path, request: Path, pair: Pair, begins: str) -> None:
    """`openssl ca` can set both dates in the past; it wants a small database for it."""
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=it\n[it]\ndatabase={folder}/index.txt\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n"
    )
    ends = f"{begins[:7]}{int(begins[7]) + 1}{begins[8:]}"
    _run(["openssl", "ca", "-batch", "-selfsign", "-config", str(folder / "ca.cnf"), "-in", str(request), "-keyfile",
          str(pair.key), "-out", str(pair.certificate), "-startdate", begins, "-enddate", ends, "-notext"])  # fmt: skip


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


class TlsServer:
    """Answers every request with `page`; `silent` accepts connections and says nothing. A context manager."""

    def __init__(self, pair: Pair, page: bytes | None = None, *, silent: bool = False) -> None:
        self.page = page or response("200 OK", b"<title>Shop</title>", "Content-Type: text/html")
        self.silent = silent
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> TlsServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError):
                if self.silent:
                    self._over.wait(5)
                    continue
                plain.settimeout(5)
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    if connection.recv(65536):
                        connection.sendall(self.page)
