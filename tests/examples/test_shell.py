"""`examples/shell/` does what its README says: every block of it is run as it stands there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.apps import exchanges, run
from tests.doubles.upstreams import END, STREAM, Send, Until, chunk, event, scripted
from tests.examples.folders import EXAMPLES, commands, copied, elsewhere, shell

EXEC, BACKGROUND, WAIT, RECORD = commands("shell")


def recorded(folder: Path) -> list[str]:
    """What `ask` makes of the answers on the cassette there."""
    return [f"{exchange.response.body.decode()}\n" for exchange in exchanges(folder / "chat.cassette")]


STORY, JOKE = recorded(EXAMPLES / "shell")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    return copied("shell", tmp_path)


@pytest.mark.parametrize(
    ("script", "said"), [(EXEC, STORY + JOKE), (BACKGROUND, STORY + JOKE), (WAIT, STORY)], ids=["exec", "free", "wait"]
)
def test_the_script_gets_what_was_recorded(folder: Path, script: str, said: str) -> None:
    """Byte for byte, in each of the three ways; and nothing is left running."""
    ran = shell(elsewhere(script, 8080), folder)
    assert (ran.returncode, ran.stdout) == (0, said), ran.stderr
    assert "no misses" in ran.stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [(EXEC, 22), (BACKGROUND.replace("./ask", "sh -c './ask $0 || true'"), 3)],
    ids=["exec", "swallowed"],
)
def test_a_changed_prompt_is_a_refusal(folder: Path, script: str, code: int) -> None:
    """curl's code; where the script swallows it, the replay's. Either way the report names the field."""
    story = folder / "story.json"
    story.write_text(story.read_text().replace("story", "lie"))
    ran = shell(script, folder)
    assert ran.returncode == code, ran.stderr
    assert "$.messages[0].content" in ran.stderr
    assert '"type":"replay_miss"' in ran.stdout


def test_a_replay_that_cannot_start_is_not_waited_for(folder: Path) -> None:
    """Its own words, its own code."""
    ran = shell(BACKGROUND.replace("chat.cassette", "none.cassette"), folder)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "none.cassette does not exist" in ran.stderr


def test_it_can_be_recorded_anew(folder: Path) -> None:
    """As the README says, from the simulator: the same words, on a new cassette."""
    before = (folder / "chat.cassette").read_bytes()
    ran = shell(elsewhere(RECORD, 8000), folder)
    assert (ran.returncode, ran.stdout) == (0, STORY + JOKE), ran.stderr
    assert (folder / "chat.cassette").read_bytes() != before
    assert recorded(folder) == [STORY, JOKE]


def test_an_answer_is_printed_as_it_comes(folder: Path) -> None:
    """The first event is on stdout while the second has not been said."""

    async def dialogue() -> None:
        go = asyncio.Event()
        async with scripted(Send(STREAM + chunk(event(1))), Until(go), Send(chunk(event(2)) + END)) as server:
            asking = await asyncio.create_subprocess_exec(
                *(folder / "ask", folder / "story.json"),
                env=os.environ | {"OPENAI_BASE_URL": f"{server.url}/v1", "NO_PROXY": "*"},
                stdout=asyncio.subprocess.PIPE,
            )
            assert asking.stdout is not None
            async with asyncio.timeout(30):
                assert await asking.stdout.readexactly(len(event(1))) == event(1)
                go.set()
                assert await asking.stdout.read() == event(2) + b"\n"
                assert await asking.wait() == 0

    run(dialogue())
