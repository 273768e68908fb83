"""Runs the shop: `python -m shop.serve`. One parent, several uvicorn processes on one listening socket.

The application is imported once and then forked, which boots faster and uses less memory than a fresh
interpreter per process. A serving process that dies takes the server down with a non-zero status: starting
again is the container runtime's work, and a crash must be seen, not papered over.

SIGTERM or SIGINT: stop accepting, finish requests in flight (up to `DRAIN_S` seconds), exit 0.

SHOP_HOST     address to listen on, default 0.0.0.0
PORT          default 8000
SHOP_WORKERS  serving processes, default 2
"""

import os
import signal
import socket
import sys
from collections.abc import Iterable

DRAIN_S = 25
# Longer than any router keeps an idle connection, so it is always the router that closes first.
KEEP_ALIVE_S = 75
POOL_SIZE = "6"
WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def main() -> int:
    """Serve until told to stop. Returns the exit status: 0 after a stop, 1 after a process died."""
    # Held back from here on, so no signal is lost between the fork and `sigwait`.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    os.environ.setdefault("SHOP_POOL_SIZE", POOL_SIZE)
    _preload()
    # Bound but not listening: until a process is ready to answer, a client is refused, not kept waiting.
    listener = _bind(os.environ.get("SHOP_HOST", "0.0.0.0"), int(os.environ.get("PORT", "8000")))
    workers = {_fork(listener, unblocked) for _ in range(int(os.environ.get("SHOP_WORKERS", "2")))}
    listener.close()
    return _supervise(workers)


def _preload() -> None:
    """Import everything a request needs, before the fork. Opens no database connection."""
    import uvicorn.protocols.http.httptools_impl
    import uvicorn.protocols.websockets.websockets_sansio_impl  # noqa: F401
    from django.urls import get_resolver

    import shop.asgi  # noqa: F401

    get_resolver().url_patterns  # noqa: B018  # reading it imports the views


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def _fork(listener: socket.socket, unblocked: Iterable[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        _serve(listener)
        status = 0
    finally:
        os._exit(status)


def _serve(listener: socket.socket) -> None:
    import uvicorn

    from shop import asgi, faults, release

    faults.start_clock(release.VERSION)
    config = uvicorn.Config(
        asgi.application,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _supervise(workers: set[int]) -> int:
    status = 0
    stopping = False
    while workers:
        if signal.sigwait(WATCHED) == signal.SIGCHLD:
            ended = _reap() & workers
            workers -= ended
            if ended and not stopping:
                print("shop: a serving process died; stopping the others", file=sys.stderr, flush=True)
                status, stopping = 1, True
                _stop(workers)
        else:
            stopping = True
            _stop(workers)
    return status


def _reap() -> set[int]:
    """Collect every ended child, also those a container's first process inherits from others."""
    ended: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.add(pid)


def _stop(workers: set[int]) -> None:
    # A process that ended is a zombie until reaped, so its pid cannot belong to anyone else yet.
    for pid in workers:
        os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
