"""haproxy.cfg as text, from what stands in the slots. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from backstay.adapters.haproxy import hold
from backstay.domain.header import joined
from backstay.domain.release import Route
from backstay.domain.slot import Slot
from backstay.ports.router import SlotRoutes, Upstream

CONFIG = "haproxy.cfg"
CANDIDATE = "haproxy.cfg.next"
"""A configuration that waits to be checked; it becomes the other one only when HAProxy accepts it."""

REFUSED = "haproxy.cfg.refused"
"""The last configuration that HAProxy refused, kept for people to look at; gone once it accepts one."""

BIND_VARIABLE = "BACKSTAY_FD_"
SERVER = "app"
NOWHERE = ("127.0.0.1", 1)
"""Address of a server that stands for an empty slot; it is disabled and never asked."""

_HEAD = """\
global
    stats socket {folder}/admin.sock mode 600 level admin
    log {folder}/log.sock len 512 format raw local0 info
    hard-stop-after 10m
    lua-load {folder}/{lua}
defaults
    mode http
    log global
    log-format "%b %ST %Ta %[var(txn.waited)]"
    timeout connect 250ms
    timeout client 75s
    timeout server 300s
    timeout http-request 30s
    timeout http-keep-alive 75s
    timeout queue 5s
    timeout tunnel 1h
    timeout check 2s
    retries 6
    option redispatch 1
    option http-server-close
    retry-on conn-failure empty-response junk-response 0rtt-rejected
    option idle-close-on-response
    option forwardfor
frontend public
{binds}
    http-request set-var(txn.token) str(token),map_str({folder}/router.map,none)
    http-request set-var(txn.nonce) var(txn.token),map_str({folder}/nonce.map,-)
    http-request set-var(txn.probe) bool(true) if {{ req.hdr(X-Backstay-Probe),strcmp(txn.nonce) eq 0 }}
    http-request set-var(txn.hold_key) str(hold_),concat(,txn.token)
    http-request set-var(txn.hold) var(txn.hold_key),map_str_int({folder}/router.map,0)
    http-request set-var(txn.is_read) bool(true) if {{ method GET HEAD OPTIONS }} !{{ req.hdr(Upgrade) -m found }}
    http-request lua.hold if {{ var(txn.hold) -m int gt 0 }} !{{ var(txn.probe) -m bool }}
    http-request return {answer} if {{ var(txn.page) -m bool }}
    http-request set-var(txn.token) str(token),map_str({folder}/router.map,none)
    http-request set-var(txn.weight_key) str(weight_),concat(,txn.token)
    http-request set-var(txn.weight) var(txn.weight_key),map_str_int({folder}/router.map,0)
    http-request set-var(txn.bucket) rand(100)
    http-request set-var(txn.below) var(txn.bucket),sub(txn.weight)
    http-request set-var(txn.slot) str(blue)
    http-request set-var(txn.slot) str(green) if {{ var(txn.below) -m int lt 0 }}
    http-request set-log-level silent if {{ var(txn.probe) -m bool }}
    http-request del-header X-Backstay-Probe
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS }}
    acl told_proto req.hdr(X-Forwarded-Proto) -m found
    acl local_peer src 127.0.0.0/8 ::1
    http-request set-header X-Forwarded-Proto http unless local_peer told_proto
    http-request set-header X-Forwarded-Host %[req.hdr(host)] unless local_peer {{ req.hdr(X-Forwarded-Host) -m found }}
    http-request set-header X-Forwarded-Port %[dst_port] unless local_peer {{ req.hdr(X-Forwarded-Port) -m found }}
    http-after-response set-header X-Backstay-Slot %[var(txn.slot)] if {{ var(txn.probe) -m bool }}
    http-after-response set-header X-Backstay-Router {name} if {{ var(txn.probe) -m bool }}
    acl on_green var(txn.slot) -m str green
"""

_TAIL = """\
    default_backend unrouted
backend unrouted
    http-request return status 404 content-type text/plain string "no route serves this path\\n"
backend empty
    http-request return status 503 content-type text/plain string "nothing is deployed here yet\\n"
"""


def render(folder: Path, name: str, binds: int, slots: Mapping[Slot, SlotRoutes]) -> str:
    """The whole configuration. An empty slot gets the other one's routes and backends, disabled, so that filling it
    later needs runtime commands only and no reload: one under a hold would leave requests waiting in a process that
    knows nothing of the new slot."""
    answer = hold.answer(folder)
    head = _HEAD.format(folder=folder, name=name, binds=_binds(binds), lua=hold.LUA, answer=answer)
    lines = [head.rstrip("\n")]
    models = {slot: _model(slot, slots) for slot in Slot}
    for slot in Slot:
        condition = "on_green" if slot is Slot.GREEN else "!on_green"
        if not slots:
            lines.append(f"    use_backend empty if {condition}")
            continue
        for route in sorted(models[slot].routes, key=lambda r: len(r.path), reverse=True):
            lines.append(f"    use_backend {backend(slot, route.component)} if {_matches(route, condition)}")
    lines.append(_TAIL.rstrip("\n"))
    for slot in Slot:
        for upstream in (models[slot].upstreams or {}).values():
            lines.append(_backend(slot, upstream, filled=slot in slots))
    return "\n".join(lines) + "\n"


def shape(text: str) -> str:
    """The configuration without what runtime commands can change: addresses, and whether a server is disabled."""
    return re.sub(rf"(    server {SERVER}) \S+:\d+ (.*?)( disabled)?$", r"\1 \2", text, flags=re.MULTILINE)


def with_binds(text: str, binds: int) -> str:
    """The same configuration listening on another number of sockets."""
    return re.sub(r'(?:^    bind "fd@.*"\n)+', _binds(binds) + "\n", text, flags=re.MULTILINE)


def backend(slot: Slot, component: str) -> str:
    """Name of the backend of a component in a slot."""
    return f"{slot}.{component}"


def _binds(count: int) -> str:
    return "\n".join(f'    bind "fd@${{{BIND_VARIABLE}{n}}}"' for n in range(count))


def _model(slot: Slot, slots: Mapping[Slot, SlotRoutes]) -> SlotRoutes:
    return slots.get(slot) or slots.get(slot.other) or SlotRoutes()


def _matches(route: Route, condition: str) -> str:
    """Whole path segments: `/api/` takes /api and /api/x, and not /apix."""
    bare = route.path.rstrip("/")
    if not bare:
        return condition
    return f"{condition} {{ path {_quoted(bare)} }} or {condition} {{ path_beg {_quoted(bare + '/')} }}"


def _backend(slot: Slot, upstream: Upstream, *, filled: bool) -> str:
    host, port = (upstream.host, upstream.port) if filled else NOWHERE
    sent = joined({"Host": host}, upstream.health.headers)
    headers = "".join(f" hdr {name} {_quoted(value.replace('%', '%%'))}" for name, value in sent.items())
    return "\n".join(
        (
            f"backend {backend(slot, upstream.component)}",
            "    option httpchk",
            f"    http-check send meth GET uri {_quoted(upstream.health.path)} ver HTTP/1.1{headers}",
            "    http-check expect status 200-399",
            f"    server {SERVER} {host}:{port} check inter 500ms fastinter 100ms downinter 100ms fall 3 rise 1"
            + ("" if filled else " disabled"),
        )
    )


def _quoted(text: str) -> str:
    """A word in HAProxy's strong quotes (management guide 2.2: nothing is expanded in them)."""
    return "'" + text.replace("'", "'\\''") + "'"
