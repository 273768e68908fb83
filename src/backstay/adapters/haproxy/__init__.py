"""The router: HAProxy under a holder that owns the listening sockets."""

from backstay.adapters.haproxy.router import HaproxyRouter

__all__ = ["HaproxyRouter"]
