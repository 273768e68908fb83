"""Which version of the shop this is, and what that version can do.

The image bakes `VERSION` in at build time. It is the only difference between the images: everything that
depends on the version is decided here, in `faults.py`, or by the migration files the build puts in place.
"""

import os

VERSION = os.environ.get("VERSION", "v1")

# v2 added discounts with migration 0002; v1 must neither know the column nor carry the migration. v7 drops them.
HAS_DISCOUNTS = VERSION not in ("v1", "v7")

# v8 wants every order to be unlike all others, which they are not.
ORDERS_ARE_UNIQUE = VERSION == "v8"
