"""What people are told of a configuration that HAProxy refuses."""

from __future__ import annotations

import pytest

from backstay.adapters.haproxy.refusal import faults

SAID = """\
[NOTICE]   (28287) : haproxy version is 2.6.12-1+deb12u4
[NOTICE]   (28287) : path to executable is /usr/sbin/haproxy
[ALERT]    (28287) : config : parsing [/h/router/shop-dev/haproxy.cfg.next:7] : unknown keyword 'foo'
[WARNING]  (28287) : config : parsing [/h/router/shop-dev/haproxy.cfg.next:8] : a nuisance
[ALERT]    (28287) : config : [/h/r/haproxy.cfg.next:63] : 'server blue.c0/app' : unknown keyword 'such'.
[ALERT]    (28287) : config : parsing [/h/r/haproxy.cfg.next:11] : 'http-check send' : 'host' header already defined.
[ALERT]    (28287) : config : Error(s) found in configuration file : /h/router/shop-dev/haproxy.cfg.next
[ALERT]    (28287) : config : Fatal errors found in configuration.
"""


def test_only_its_faults_are_told_with_their_lines() -> None:
    assert faults(SAID) == (
        "line 7: unknown keyword 'foo'; line 63: 'server blue.c0/app' : unknown keyword 'such'; "
        "line 11: 'http-check send' : 'host' header already defined"
    )


def test_of_many_faults_the_first_are_told_and_none_is_long() -> None:
    alerts = [f"[ALERT]    (1) : config : parsing [a.cfg:{n}]: {'x' * 999}" for n in range(9)]
    told = faults("\n".join(alerts))
    assert told and told.startswith("line 0: xxx") and told.endswith("; and 6 more") and len(told) < 650


@pytest.mark.parametrize("said", ["", "[Errno 98] Address already in use", "[NOTICE] (1) : fine"])
def test_what_haproxy_did_not_refuse_has_no_faults(said: str) -> None:
    assert faults(said) is None
