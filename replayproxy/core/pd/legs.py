"""The steps in which a request becomes two, as functions that another process can call: values in, values out.

The JSON of a long body is parsed, and that of each leg encoded, in calls that hold the interpreter's lock for as long
as they take. So whoever answers many clients has another process do it. Parsed values do not cross the pipe, since to
unpack them there takes as long as to parse them: each step parses the body that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from replayproxy.core.coding import body_of
from replayproxy.core.pd.endpoints import prompts_in
from replayproxy.core.pd.protocol import (
    Protocol,
    SplitRequest,
    Ticket,
    is_unsplit_generation,
    json_of,
    one_token_of,
    opened,
)
from replayproxy.model import Request, Response


@dataclass(frozen=True, slots=True)
class Outline:
    """What decides where a request goes: to both servers, or to a decode server alone.

    `unsplit`: it goes to one, although it looks like generation. `body` is its JSON, if it is to be kept.
    """

    is_split: bool
    unsplit: bool = False
    body: dict[str, Any] = field(default_factory=dict)


def outline_of(protocol: Protocol, request: Request) -> Outline:
    """Return the outline of a request, with its body."""
    body = opened(request)
    if body is None or (not protocol.takes_batches and (prompts_in(body) or 1) > 1):
        return Outline(False, is_unsplit_generation(request))
    return Outline(True, body=body)


def outline_alone(protocol: Protocol, request: Request) -> Outline:
    """Return the outline of a request, without its body."""
    return replace(outline_of(protocol, request), body={})


def prefill_leg(protocol: Protocol, split: SplitRequest) -> Request:
    """Return the request for the prefill server. Raises `ClientError`."""
    return protocol.prefill_request(_with_values(split))


def decode_leg(protocol: Protocol, split: SplitRequest, ticket: Ticket | None) -> Request:
    """Return the request for the decode server. Raises `ClientError`."""
    return protocol.decode_request(_with_values(split), ticket)


def releasing_leg(protocol: Protocol, split: SplitRequest, ticket: Ticket | None) -> Request:
    """Return a request for one token, with which a decode server takes over a cache that no client waits for."""
    return protocol.decode_request(one_token_of(_with_values(split)), ticket)


def ticket_in(protocol: Protocol, answer: Response) -> Ticket | None:
    """Return the ticket in the answer of a prefill. Raises `PrefillFailed`."""
    return protocol.ticket_from(answer)


def _with_values(split: SplitRequest) -> SplitRequest:
    """A request whose body was left out has it again."""
    return split if split.body else replace(split, body=json_of(body_of(split.request)))
