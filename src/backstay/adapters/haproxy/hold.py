"""Holding requests: the action HAProxy runs on each of them, and the page for those that waited long enough.

HAProxy has no pause of its own before version 3.2, so the action is a few lines of Lua. It reads the same map as the
weights, which is why a hold is keyed by token and outlives a restart as they do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backstay.adapters.haproxy.files import write_durably

LUA: Final = "hold.lua"
PAGE: Final = "maintenance.html"
RETRY_AFTER_S: Final = 10

_ACTION: Final = """\
-- Written by Backstay. Keeps a request while the router's map says so.
local map = Map.new("{folder}/router.map", Map._str)
local STEP_MS, LONGEST_MS = 20, 300000 -- the second bounds a wait although somebody set the clock back

local function hold_of(is_read)
  local token = map:lookup("token")
  local mode = token and map:lookup("hold_" .. token) or "0"
  if mode == "2" or (mode == "1" and not is_read) then
    return "wait", tonumber(map:lookup("until_" .. token) or "0")
  end
  return mode == "3" and "page" or "none", 0
end

core.register_action("hold", {{ "http-req" }}, function(txn)
  local is_read, waited = txn:get_var("txn.is_read"), 0
  local hold, till = hold_of(is_read)
  while hold == "wait" and core.now().sec < till and waited < LONGEST_MS do
    core.msleep(STEP_MS)
    waited = waited + STEP_MS
    hold, till = hold_of(is_read)
  end
  txn:set_var("txn.waited", waited) -- no release is to blame for it
  txn:set_var("txn.page", hold ~= "none")
end, 0)
"""

_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Maintenance</title></head>
<body><h1>Back in a moment</h1><p>This site is being maintained. Please try again shortly.</p></body></html>
"""


def write_files(folder: Path) -> None:
    """Put the action and the page where the configuration refers to them."""
    write_durably(folder / LUA, _ACTION.format(folder=folder))
    write_durably(folder / PAGE, _PAGE)


def answer(folder: Path) -> str:
    """What `http-request return` says to those that waited long enough, in HAProxy's words."""
    headers = f"hdr Retry-After {RETRY_AFTER_S} hdr Cache-Control no-store"
    return f'status 503 content-type "text/html; charset=utf-8" file {folder}/{PAGE} {headers}'


def is_known_to(config: str) -> bool:
    """Whether a configuration obeys holds; one that an earlier Backstay wrote does not."""
    return f"/{LUA}" in config
