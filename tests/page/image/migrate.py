"""A migration of a moment. MIGRATION_S in the environment makes it last."""

import os
import time

print("migrating to", os.environ["VERSION"], flush=True)
time.sleep(float(os.environ.get("MIGRATION_S", "0.1")))
