"""Rows of the table of settings. Faults, limits, and what a client must do about them."""

from __future__ import annotations

from replayproxy.setting_kinds import Flag, Text, Whole
from replayproxy.setting_table.row import InPytest, Setting

FAULTING = ("replay", "exec", "simulate")

ROWS = (
    Setting(
        "fail",
        Text(),
        "Inject a fault: cut@12, cut-clean@12, stall@3,for=5s, slow-start,for=20s, garbage@5, reset@0,"
        " status=429,retry-after=2 or failure=TYPE; @N is after N chunks. Each takes rate=0.1, first=3, every=10,"
        " path=/v1/* and model=GLOB. May be repeated; the first that fits a request counts.",
        verbs=FAULTING,
        group="fail",
        is_repeatable=True,
        metavar="FAULT",
        pytest=InPytest(by_test=True),
    ),
    Setting(
        "fail_header",
        Flag(),
        "A request may ask for its own fault with the header X-Replayproxy-Fail.",
        verbs=FAULTING,
        group="fail",
        default=False,
        goes_to="faulting.by_header",
        pytest=InPytest(by_test=True),
    ),
    Setting(
        "rpm",
        Whole(least=0),
        "Requests per minute; one more gets 429 and Retry-After. 0: no limit.",
        verbs=FAULTING,
        group="fail",
        default=0,
        goes_to="faulting.rpm",
    ),
    Setting(
        "tpm",
        Whole(least=0),
        "Tokens per minute, estimated as OpenAI does; one more gets 429 and Retry-After. 0: no limit.",
        verbs=FAULTING,
        group="fail",
        default=0,
        goes_to="faulting.tpm",
    ),
    Setting(
        "failure_injection_rate",
        Whole(0, 100),
        "Percent of generation requests that get one of --failure-types, as in llm-d-inference-sim.",
        verbs=("simulate",),
        group="fail",
        default=0,
    ),
    Setting(
        "failure_types",
        Text(),
        "rate_limit, invalid_api_key, context_length, server_error, invalid_request or model_not_found; without any,"
        " all of them. May be repeated, or separated by commas.",
        verbs=("simulate",),
        group="fail",
        is_repeatable=True,
        metavar="TYPE",
    ),
    Setting(
        "assert_resilient",
        Flag(),
        "Exit with 8 if a client mishandled an injected fault, and with 7 if none was injected.",
        verbs=FAULTING,
        group="judge",
        default=False,
        in_python=False,
    ),
)
