"""What the fixture `replayproxy` gives to a test: where to send requests, and what became of them.

Light to import. Each attribute looks at the proxy when it is read, so that it is up to date.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replayproxy.errors import CassetteError

if TYPE_CHECKING:
    from replayproxy.api.server import ProxyCall, ProxyServer
    from replayproxy.proxy.fault_result import ClientFault
    from replayproxy.views.miss import Miss


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as the proxy received it. `headers` are those that a cassette may hold, in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as a JSON value. Raises `ValueError` where it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class PlayedResponse:
    """An answer as it was recorded."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as a JSON value. Raises `ValueError` where it is not JSON: a stream, for one."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class PlaybackCall:
    """One request of a test. `outcome` is `replay`, `record`, `refuse` (a miss), `forward`, `probe` or `fault`."""

    request: ReceivedRequest
    outcome: str
    _call: ProxyCall = field(repr=False)

    @classmethod
    def of(cls, call: ProxyCall) -> PlaybackCall:
        """The same call, with its request as one value."""
        return cls(ReceivedRequest(call.method, call.path, call.headers, call.body), call.outcome, call)

    @property
    def response(self) -> PlayedResponse | None:
        """The answer, if it came from a recording. What was just recorded may not have been written yet: None."""
        played = self._call.response
        if played is None:
            return None
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
    _server: ProxyServer | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        """The address with `/v1`."""
        return f"{self.url}/v1"

    @property
    def calls(self) -> list[PlaybackCall]:
        """The requests of this test so far."""
        return [PlaybackCall.of(call) for call in self._calls()]

    def _calls(self) -> list[ProxyCall]:
        # Those without a scope too: the tests of one process run one after the other.
        return [] if self._server is None else self._server.calls_in(self.scope, "")

    @property
    def misses(self) -> list[Miss]:
        """The requests of this test that no recording answered. Each has a `code` and a `sentence`."""
        return [call.miss for call in self._calls() if call.miss is not None]

    @property
    def client_faults(self) -> list[ClientFault]:
        """The faults that this test's requests got, and what its client did, by what was seen so far."""
        return [] if self._server is None else self._server.client_faults_in(self.scope, "")

    @property
    def env(self) -> dict[str, str]:
        """The variables that make SDKs, in any language, talk to this proxy."""
        from replayproxy.api.client_environment import client_environment

        return client_environment(self.url, os.environ)

    def assert_all_played(self) -> None:
        """Every recording on the cassette was played for this test; else an `AssertionError` that names the others,
        or says why they cannot be listed."""
        if self._server is None:
            return
        played = {call.played for call in self._calls()}
        try:
            recordings = self._server.recordings()
        except CassetteError as error:
            raise AssertionError(str(error)) from None
        left = [recording for recording in recordings if recording.place not in played]
        if left:
            from replayproxy.core.visible import visible

            names = "".join(f"\n  {visible(f'{info.id}  {info.method} {info.path}')}" for info in left)
            raise AssertionError(
                f"{len(left)} of {len(recordings)} recordings on {self.cassette} were not played:{names}"
            )
