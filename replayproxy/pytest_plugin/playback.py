"""What the fixture `replayproxy` gives to a test: where to send requests, and what became of them.

Light to import. Asks the proxy when it is asked, so that what it says is what is so now.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replayproxy.core.no_proxy import no_proxy_for

if TYPE_CHECKING:
    from replayproxy.proxy.request_log import Call
    from replayproxy.pytest_plugin.proxies import CassetteProxy
    from replayproxy.views.miss import Miss


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as the proxy got it. `headers` are those that a cassette may hold, in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as a JSON value. Raises `ValueError` where it is none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class PlayedResponse:
    """An answer as it was recorded."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as a JSON value. Raises `ValueError` where it is none: a stream, for one."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class PlaybackCall:
    """One request of a test. `outcome` is `replay`, `record`, `refuse` (a miss), `forward` or `probe`."""

    request: ReceivedRequest
    outcome: str
    _call: Call = field(repr=False)
    _proxy: CassetteProxy = field(repr=False)

    @property
    def response(self) -> PlayedResponse | None:
        """The answer, if it came from a recording; what was recorded just now is still on its way to the disk."""
        if self._call.place is None:
            return None
        played = self._proxy.response(self._call.place)
        return PlayedResponse(played.status, {name.lower(): value for name, value in played.headers}, played.body)


@dataclass(frozen=True, slots=True)
class Playback:
    """A test's own proxy.

    `url` is the server's address for SDKs that add `/v1` themselves (Anthropic's), `base_url` for those that do not
    (OpenAI's). `scope` is the test's name on the proxy, `cassette` the file that answers.
    """

    url: str
    scope: str
    cassette: Path
    records: bool = False
    _proxy: CassetteProxy | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        """The address with `/v1`."""
        return f"{self.url}/v1"

    @property
    def calls(self) -> list[PlaybackCall]:
        """What this test has asked for so far."""
        if self._proxy is None:
            return []
        from replayproxy.pytest_plugin.proxies import stored_headers

        return [
            PlaybackCall(
                ReceivedRequest(call.request.method, call.request.target, stored_headers(call), call.request.body),
                call.outcome,
                call,
                self._proxy,
            )
            for call in self._proxy.asked(self.scope).calls
        ]

    @property
    def misses(self) -> list[Miss]:
        """What this test has asked for in vain. Each has a `code` and a `sentence`."""
        return [] if self._proxy is None else list(self._proxy.asked(self.scope).misses)

    @property
    def env(self) -> dict[str, str]:
        """The variables that make SDKs, in any language, talk to this proxy."""
        urls = {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_API_BASE": self.base_url,
            "ANTHROPIC_BASE_URL": self.url,
            "REPLAYPROXY_URL": self.url,
        }
        # A company's HTTP_PROXY must not be asked for an address of this machine.
        return urls | no_proxy_for(os.environ)

    def assert_all_played(self) -> None:
        """Every recording on the cassette was played for this test; else an `AssertionError` that names the others."""
        if self._proxy is None:
            return
        played = {call.place for call in self._proxy.asked(self.scope).calls}
        recordings = self._proxy.recordings()
        left = [recording for recording in recordings if recording.place not in played]
        if left:
            from replayproxy.core.visible import visible

            names = "".join(f"\n  {visible(f'{one.id}  {one.method} {one.path}')}" for one in left)
            raise AssertionError(
                f"{len(left)} of {len(recordings)} recordings on {self.cassette} were not played:{names}"
            )
