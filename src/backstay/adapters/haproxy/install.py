"""The HAProxy that is installed on this host."""

from __future__ import annotations

import re
import shutil
import subprocess

from backstay.errors import RouterError

LEAST_VERSION = (2, 6)


def version() -> str:
    """The version of the installed HAProxy, such as 2.6.12; RouterError when there is none, or one too old."""
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    try:
        said = subprocess.run([binary, "-vv"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RouterError("haproxy is not installed", hint="apt-get install haproxy") from error
    found = re.search(r"version ((\d+)\.(\d+)[\w.]*)", said)
    if found is None or (int(found[2]), int(found[3])) < LEAST_VERSION:
        raise RouterError(
            f"haproxy 2.6 or newer is needed, found: {said.splitlines()[:1]}",
            hint="apt-get install haproxy, from a release or a source that has 2.6",
        )
    if "+LUA" not in said.split():
        raise RouterError(
            f"haproxy {found[1]} was built without Lua, which holds requests back while a database changes",
            hint="apt-get install haproxy: the builds of the distributions have it",
        )
    return found[1]
