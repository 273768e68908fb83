"""TLS by the standard library: a connection to whoever answers, and a look at the certificate."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from backstay.adapters.deadline import Deadline, connected
from backstay.domain.smoke import Certificate


class _DeadlineTls(ssl.SSLSocket):
    """Like DeadlineSocket: every wait ends at the deadline, also when the peer drips bytes."""

    deadline: Deadline

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.deadline.left())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.deadline.left())
        super().sendall(*args, **kwargs)


def encrypted(plain: socket.socket, host: str, deadline: Deadline) -> socket.socket:
    """TLS over `plain` without a look at who it is: a bad certificate must not hide what else is wrong."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _shake_hands(context, plain, host, deadline)


def certificate(host: str, port: int, deadline: Deadline) -> Certificate:
    """What `host` shows, verified against the trusted authorities of this machine and against its name."""
    try:
        plain = connected(host, port, deadline)
        with _shake_hands(ssl.create_default_context(), plain, host, deadline) as shown:
            found = shown.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Certificate(fault=f"the certificate is not trusted: {error.verify_message}")
    except TimeoutError:
        return Certificate(error=f"no TLS handshake within {deadline.seconds:g} s")
    except ConnectionRefusedError:
        return Certificate(error=f"nothing listens on {host}:{port}")
    except ssl.SSLError as error:
        return Certificate(error=f"no TLS: {error.reason or error}")
    except OSError as error:
        return Certificate(error=f"{type(error).__name__}: {error}")
    return Certificate(expires_at=float(ssl.cert_time_to_seconds(str(found["notAfter"]))))


def _shake_hands(
    context: ssl.SSLContext, plain: socket.socket, host: str, deadline: Deadline
) -> _DeadlineTls:
    context.sslsocket_class = _DeadlineTls
    plain.settimeout(deadline.left())
    wrapped = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    assert isinstance(wrapped, _DeadlineTls)
    wrapped.deadline = deadline
    try:
        wrapped.settimeout(deadline.left())
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise
    return wrapped
