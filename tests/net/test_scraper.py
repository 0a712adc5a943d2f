"""A server's metrics are read at equal intervals; what fails is counted, logged once, and costs nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from replayproxy.core.server_state import MOST_PAGE, ScrapedPage
from replayproxy.errors import UpstreamUnreachable
from replayproxy.model import Ending, Request, Response
from replayproxy.net.scraper import MetricsScraper
from replayproxy.ports import Clock
from tests.doubles.fakes import EPOCH, MILLISECOND, SECOND, ManualClock, answer

URL = "http://127.0.0.1:8000"
PAGE = answer((0, b"vllm:num_requests_running 1.0\n"))
UNREACHABLE = UpstreamUnreachable(f"nobody answers at {URL} (Connection refused): start it, or give another URL")


class Server:
    """Answers in this order, each after so many ns; then the test ends."""

    def __init__(self, clock: ManualClock, answers: Sequence[Response | Exception], took: int = 0) -> None:
        self.asked: list[tuple[int, Request]] = []
        self._clock = clock
        self._answers = iter(answers)
        self._took = took

    async def answer(self, url: str, request: Request, _: Clock) -> Response:
        """The next one."""
        assert url == URL
        self.asked.append((self._clock.now(), request))
        self._clock.move(self._took)
        following = next(self._answers, None)
        if following is None:
            raise asyncio.CancelledError
        if isinstance(following, Exception):
            raise following
        return following


def scraped(
    *answers: Response | Exception, took: int = 0, room: int = 100, **options: object
) -> tuple[MetricsScraper, Server, list[ScrapedPage]]:
    """A scraper that has asked for all of these, and the pages that it handed over."""
    clock, pages = ManualClock(), list[ScrapedPage]()
    server = Server(clock, answers, took)

    def take(page: ScrapedPage) -> bool:
        if len(pages) == room:
            return False
        pages.append(page)
        return True

    scraper = MetricsScraper(URL, clock, 1.0, take, (("X-Key", "of-the-server"),), fetch=server.answer)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scraper.run())
    return scraper, server, pages


def test_pages_are_read_at_absolute_times() -> None:
    """With the time at which they had come, and the fields that the server wants."""
    scraper, server, pages = scraped(PAGE, PAGE, took=100 * MILLISECOND)
    assert [at for at, _ in server.asked] == [0, SECOND, 2 * SECOND]
    assert ("X-Key", "of-the-server") in server.asked[0][1].headers
    assert pages == [ScrapedPage(URL, EPOCH + at + 100 * MILLISECOND, PAGE.body) for at in (0, SECOND)]
    assert scraper.counts == {"scraped": 2}


def test_a_slow_server_is_asked_less_often() -> None:
    """Never twice at once, and then on the same beat."""
    _, server, _ = scraped(PAGE, PAGE, took=2 * SECOND + 1)
    assert [at // SECOND for at, _ in server.asked] == [0, 3, 6]


FAILURES = [
    (UNREACHABLE, "nobody answers"),
    (TimeoutError(), "it was silent for 5 s"),
    (answer((0, b"no"), status=404), "it answered 404"),
    (answer((0, b"half"), ending=Ending.UPSTREAM_CUT), "its answer broke off"),
    (answer((0, b"x" * (MOST_PAGE + 1))), "more than 4194304"),
]


@pytest.mark.parametrize(("failure", "words"), FAILURES, ids=[words for _, words in FAILURES])
def test_a_failure_is_said_once_and_so_is_its_end(
    failure: Response | Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs the page and nothing else."""
    caplog.set_level(logging.INFO)
    scraper, _, pages = scraped(failure, failure, PAGE, PAGE)
    assert (len(pages), scraper.counts) == (2, {"failed": 2, "scraped": 2})
    first, last = [record.message for record in caplog.records]
    assert words in first
    assert last == f"the metrics of {URL} are recorded again"


def test_a_full_queue_drops_pages(caplog: pytest.LogCaptureFixture) -> None:
    """And counts them."""
    scraper, _, _ = scraped(PAGE, PAGE, PAGE, room=1)
    assert scraper.counts == {"scraped": 1, "dropped": 2}
    assert "the writer's queue is full" in caplog.text
