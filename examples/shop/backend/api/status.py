"""Who answers, and whether its database does."""

import asyncio

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from api.errors import method_not_allowed
from shop.release import VERSION

# Shorter than the usual probe's patience, so a probe sees a clear 503 instead of its own time-out.
DATABASE_DEADLINE_S = 1.5


async def health(request: HttpRequest) -> JsonResponse:
    """200 when the database answers a query in time, else 503."""
    connected = await _database_answers()
    return JsonResponse(
        {"status": "ok" if connected else "failing", "version": VERSION, "database": _word(connected)},
        status=200 if connected else 503,
    )


async def root(request: HttpRequest) -> JsonResponse:
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET")
    connected = await _database_answers()
    return JsonResponse(
        {"name": "shop", "version": VERSION, "database": _word(connected)},
        status=200 if connected else 503,
    )


async def _database_answers() -> bool:
    try:
        async with asyncio.timeout(DATABASE_DEADLINE_S):
            await sync_to_async(_select_one)()
    except (TimeoutError, DatabaseError):
        return False
    return True


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def _word(connected: bool) -> str:
    return "connected" if connected else "unavailable"
