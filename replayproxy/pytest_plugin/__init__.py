"""replayproxy in pytest: a test's LLM server is a recording, and a request without one fails the test.

The options, the markers and the fixtures. Every run of pytest where replayproxy is installed imports this: whatever
imports more than pytest is imported with the first test that uses a proxy.

    options ──▶ session ──▶ cassettes ──▶ proxies               each process: a worker of xdist, or the only one
                   └──▶ process_result ──▶ suite_result ──▶ summary     the controller, or the only process
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from replayproxy.errors import ReplayProxyError
from replayproxy.pytest_plugin import options
from replayproxy.pytest_plugin.options import Unusable
from replayproxy.pytest_plugin.paths import SUFFIX, cassette_name, scope_name
from replayproxy.pytest_plugin.session import Session

if TYPE_CHECKING:
    from replayproxy.pytest_plugin.playback import Playback

SESSION = pytest.StashKey[Session]()

MARKERS = (
    f"replayproxy(name, *, {', '.join(options.OF_TEST)}): answer this test's requests from a cassette",
    "replayproxy_block_network(allowed): this test reaches nothing but this machine",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their keys in the ini file."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; begin, unless the plugin is disabled."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getoption("replayproxy_disable"):
        return
    options.check(config)
    session = config.stash[SESSION] = Session(config)
    config.pluginmanager.register(session, "replayproxy-session")


@pytest.fixture(scope="module")
def replayproxy_config() -> dict[str, Any]:
    """Settings of all tests of a module or a folder: override it. The keys are the marker's."""
    return {}


@pytest.fixture(scope="module")
def replayproxy_cassette_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of the cassettes: `cassettes` beside the test's file. Override it."""
    return request.path.parent / "cassettes"


@pytest.fixture
def replayproxy_cassette_name(request: pytest.FixtureRequest) -> str:
    """The name of a test's cassette in that folder, where its marker gives none. Override it."""
    return cassette_name(
        options.of_run(request.config, "layout"),
        request.path.stem,
        request.cls.__name__ if request.cls is not None else None,
        request.node.name,
    )


@pytest.fixture
def replayproxy(
    request: pytest.FixtureRequest,
    replayproxy_config: dict[str, Any],
    replayproxy_cassette_dir: Path,
    replayproxy_cassette_name: str,
) -> Iterator[Playback]:
    """A server whose answers come from this test's cassette; a request without a recording fails the test."""
    item = request.node
    marked: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("replayproxy"))):
        marked |= marker.kwargs
    names = [marker.args[0] for marker in item.iter_markers("replayproxy") if marker.args]
    own = replayproxy_cassette_dir / replayproxy_cassette_name
    target = replayproxy_cassette_dir / names[0] if names else own
    if not target.suffix:
        target = target.with_suffix(SUFFIX)
    try:
        choice = options.choose(request.config, marked, replayproxy_config)
        session = request.config.stash.get(SESSION, None)
        if session is None:
            if choice.upstream is None:
                pytest.skip("--disable-replayproxy, and no --replayproxy-upstream to talk to instead")
            from replayproxy.pytest_plugin.playback import Playback

            yield Playback(choice.upstream.rstrip("/"), scope_name(item.nodeid), target, records=True)
            return
        playback = session.begin(item, choice, target, named=bool(names))
    except (Unusable, ReplayProxyError) as error:
        from replayproxy.core.visible import visible_lines  # an error may quote a cassette, which is untrusted

        if isinstance(error, ReplayProxyError):
            error.spelling = options.as_in_pytest
        raise pytest.fail.Exception(f"replayproxy: {visible_lines(str(error))}", pytrace=False) from None
    yield playback
    session.end(item)


@pytest.fixture
def replayproxy_env(replayproxy: Playback, monkeypatch: pytest.MonkeyPatch) -> Playback:
    """`replayproxy`, with the environment set so that SDKs find it by themselves.

    SDKs need a key, so there are placeholders; where something is recorded, keys that are set stay, because the server
    may need them.
    """
    import os

    for name, value in replayproxy.env.items():
        monkeypatch.setenv(name, value)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        if not (replayproxy.records and os.environ.get(name)):
            monkeypatch.setenv(name, "replayproxy")
    return replayproxy
