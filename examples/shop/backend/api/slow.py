"""A request that takes its time, to see what happens to requests in flight."""

import asyncio

from django.http import HttpRequest, JsonResponse

from api.errors import problem
from shop.release import VERSION

LONGEST_MS = 10_000


async def wait(request: HttpRequest) -> JsonResponse:
    """Answer after `?ms=` milliseconds, 0 to 10000, default 1000."""
    text = request.GET.get("ms", "1000")
    if not (text.isascii() and text.isdecimal()) or int(text) > LONGEST_MS:
        return problem(400, f"ms must be a whole number from 0 to {LONGEST_MS}")
    await asyncio.sleep(int(text) / 1000)
    return JsonResponse({"slept_ms": int(text), "version": VERSION})
