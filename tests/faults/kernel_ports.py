"""`unshare --net python -m tests.faults.kernel_ports`: an engine whose ports the kernel carries, killed in a bake.

Its packet rules are its own business, so it gets a network of its own. Prints what was seen as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.faults.scene import finished, kill, switched
from tests.page import Page, build
from tests.world import World
from tests.world.private import start_dockerd

SETTINGS = {"iptables": True, "ip-forward": True, "userland-proxy": False}
DOWN_S = 2.0


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(tempfile.mkdtemp(prefix="bsk-"))
    folder.rmdir()
    os.environ |= {"BACKSTAY_WORLD": str(folder), "BACKSTAY_WORLD_ENGINE": json.dumps(SETTINGS)}
    world = World.up()
    try:
        build(world)
        with Page(world, "kernelports") as page:
            for version in ("v1", "v2"):
                assert page.deploy(version).status == 0
            page.configure(bake="5s")
            with page.load() as load:
                load.until(lambda so_far: so_far.requests > 20)
                switched(page, "v1")
                kill(world.state.processes["dockerd"].pid)
                time.sleep(DOWN_S)
                start_dockerd(world.layout, world.state)
                end = finished(page)
                report = load.stop()
        told = {"requests": report.requests, "failed": report.failed, "bad": sum(report.bad_answers.values())}
        print(json.dumps({**told, "status": end.exit_status, "state": end.state.value}))
    finally:
        World.down()


if __name__ == "__main__":
    main()
