"""Loaded by Python itself when this folder is on PYTHONPATH: sleeps that libfaketime leaves alone.

Python sleeps until a moment of the monotonic clock. libfaketime 0.9.10 moves that moment by as much as the wall
clock, although it was told to leave the monotonic clock as it is, and the kernel refuses a moment before the boot.
"""

import select
import time
from typing import SupportsIndex


def sleep(seconds: SupportsIndex | float, /) -> None:
    select.select([], [], [], float(seconds))


time.sleep = sleep
