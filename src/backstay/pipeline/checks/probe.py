"""A first word with PostgreSQL, spoken from inside any container that has a shell.

No password is sent: the server says already whether it listens, and whether pg_hba.conf lets this address, role
and database in at all. Format: PostgreSQL documentation, "Message Formats" (StartupMessage, SSLRequest,
AuthenticationOk …, ErrorResponse).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backstay.pipeline.checks.address import DatabaseAddress

LINES: Final = 20
NO_TOOL: Final = (69, 126, 127)
"""Exit codes of a shell that found none of the tools, or was not found itself."""

PROTOCOL: Final = 3 << 16
SSL_REQUEST: Final = 80877103

# NULs become line ends, so that the answer is text. `dd` takes what comes first and does not wait for the rest.
SCRIPT: Final = r"""
show() { dd bs=512 count=1 2>/dev/null | tr '\000' '\n'; }
if command -v bash >/dev/null 2>&1; then
  exec bash -c 'exec 3<>"/dev/tcp/$0/$1" || exit 70
    printf "$2" >&3; dd bs=512 count=1 <&3 2>/dev/null | tr "\000" "\n"' "$1" "$2" "$3"
elif command -v python3 >/dev/null 2>&1; then
  exec python3 -c 'import socket, sys
host, port, sent = sys.argv[1:]
try:
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(bytes(int(each, 8) for each in sent.split("\\")[1:]))
        print(s.recv(512).replace(b"\0", b"\n").decode(errors="replace"))
except OSError as error:
    sys.exit(f"{error}")' "$1" "$2" "$3"
elif command -v nc >/dev/null 2>&1; then
  { printf "$3"; sleep 1; } | nc -w 3 "$1" "$2" | show
else
  exit 69
fi
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `refusal` in the server's words, or why nothing came (`trouble`)."""

    reached: bool
    refusal: str | None = None
    trouble: str = "it does not speak PostgreSQL's protocol"


def command(address: DatabaseAddress) -> tuple[str, ...]:
    """The words after `sh`. Nothing in them is secret."""
    octal = "".join(f"\\{byte:03o}" for byte in first_word(address))
    return ("-c", SCRIPT, "probe", address.host, str(address.port), octal)


def first_word(address: DatabaseAddress) -> bytes:
    """What a client says first: with TLS wanted only that, else who it is and to which database it wants."""
    if address.wants_tls:
        return struct.pack("!ii", 8, SSL_REQUEST)
    fields = (
        b"user",
        address.role.encode(),
        b"database",
        address.name.encode(),
        b"application_name",
        b"backstay",
    )
    body = struct.pack("!i", PROTOCOL) + b"".join(field + b"\0" for field in fields) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def judge(output: Sequence[str], wants_tls: bool, code: int = 0) -> Answer:
    """What the lines of the probe mean. An answer begins with its kind: R wants a password or takes us as we are,
    E refuses; to a wish for TLS, S is yes and N no. With an exit `code` the last line is the tool's complaint."""
    lines = [line for line in output if line.strip()]
    if not lines:
        return Answer(False, trouble="the connection was closed without a word")
    kind = lines[0][:1]
    if wants_tls:
        if lines[0] == "S":
            return Answer(True)
        if lines[0] == "N":
            return Answer(False, refusal="it has no TLS, which the URL wants (sslmode)")
    elif kind == "R" and len(lines[0]) <= 2:
        return Answer(True)
    elif kind == "E" and any(line.startswith(("SFATAL", "VFATAL", "SERROR")) for line in lines):
        said = next((line[1:] for line in lines[1:] if line.startswith("M")), "no reason given")
        return Answer(False, refusal=said)
    trouble = _trouble(lines) or (lines[-1].rpartition(": ")[2].strip() if code else None)
    return Answer(False, trouble=trouble) if trouble else Answer(False)


def _trouble(lines: Sequence[str]) -> str | None:
    """Why there was no connection, in the words of the shell or of Python."""
    known = (
        "refused",
        "no route",
        "unreachable",
        "not known",
        "timed out",
        "resolution",
        "bad address",
        "reset",
    )
    for line in lines:
        if any(words in line.lower() for words in known):
            return line.rpartition(": ")[2].strip()
    return None
