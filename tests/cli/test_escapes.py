"""Whatever a stranger controls, no escape sequence of his reaches a terminal: arguments, environment, config files,
cassettes, SQLite's errors, upstreams.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.model import Request
from tests.cli.tapes import Read, Watch, answer, asked, chat, pair, writing

EVIL = "\x1b]52;c;ZXZpbA==\x07\x9b2J\u202eab\x08\r\x1b[31m"
"""Sets the clipboard, clears the screen, turns the reading order, goes back, goes to the line's begin, is red."""

MOVES = set("\x1b\x07\x9b\u202e\x08\r")


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """A cassette that a stranger has sent: evil wherever it may be, also in its name."""
    path = tmp_path / f"{EVIL}.cassette"
    headers = (("Content-Type", "application/json"), (f"X-{EVIL}", EVIL))
    with writing(path) as keep:
        keep(
            chat(EVIL, model=EVIL, words=[EVIL, "b", "c"]),
            answer(Request("POST", f"/v1/{EVIL}", headers, EVIL.encode()), EVIL.encode(), fields=headers, started=1000),
            answer(asked("bad"), f'{{"error":{{"message":"{EVIL}"}}}}'.encode(), status=400, started=2000),
            pair(chat("pair", words=[EVIL] * 3, started=3000)),
        )
    return path


def harmless(*texts: str) -> bool:
    """Nothing in it moves anything."""
    return not any(set(text) & MOVES for text in texts)


SAID: list[tuple[str, ...]] = [
    (EVIL,),
    ("ls", EVIL),
    ("ls", "{}", "--" + EVIL),
    ("ls", "{}", "-n", EVIL),
    ("ls", "{}", "--sort", EVIL),
    ("ls", "{}", "--since", EVIL),
    ("ls", "{}", "--where", EVIL),
    ("ls", "{}", "--where", f'"{EVIL}"'),
    ("ls", "{}", "--where", f":{EVIL}"),
    ("ls", "{}", "--where", f"no_function('{EVIL}') -- {EVIL}"),
    ("ls", "{}", "--where", "1", "-p", EVIL, EVIL),
    ("ls", "{}", "-o", f"no/{EVIL}"),
    ("ls", "{}", EVIL),
    ("show", "{}", EVIL),
    ("show", "{}", "--print", EVIL),
    ("show", "{}", "1", EVIL),
    ("show", "{}", "ffff"),
    ("stats", "{}", "--by", EVIL),
    ("info", EVIL),
    ("verify", EVIL),
    ("verify", "{}", "--match-ignore", EVIL),
    ("prune", "{}", "--unused", EVIL),
    ("prune", "{}", "--where", "1"),
    ("prune", "{}", "--where", "1", "--dry-run"),
    ("redact", "{}", "--redact", EVIL),
    ("redact", "{}", "--redact", f"@{EVIL}"),
    ("redact", "{}", "--redact", f"re:({EVIL}"),
    ("redact", "{}", "--redact", f"$.{EVIL}["),
    ("merge", "{}", EVIL),
    ("join", EVIL, "--prefill", EVIL, "--decode", EVIL),
    ("replay", "{}", "--speed", EVIL),
    ("replay", "{}", "--match-normalise", EVIL),
    ("replay", "{}", "--match-normalise", f"x=({EVIL}"),
    ("replay", "{}", "--report", f"no/{EVIL}"),
    ("replay", "{}", "--api-key-file", EVIL),
    ("replay", "{}", "--on-miss", EVIL),
    ("replay", "{}", "--admin-allowed-host", f"{EVIL}:"),
    ("record", "new", "--upstream", EVIL),
    ("record", "new", "--upstream", f"http://{EVIL}/v1"),
    ("record", "new", "--upstream", "a", "--upstream", EVIL),
    ("record", "new", "--prefill", EVIL, "--decode", EVIL),
    ("record", f"no/{EVIL}", "--upstream", "http://127.0.0.1:1"),
    ("simulate", "--drain", EVIL),
    ("ctl", EVIL),
    ("ctl", "status", EVIL),
    ("ctl", "misses", "--admin", EVIL),
    ("ctl", "reset", "--scope", EVIL, "--admin", "http://127.0.0.1:1"),
    ("wait", EVIL, "--timeout", "0s"),
    ("--config", EVIL, "ls", "{}"),
    ("--" + EVIL, "ls"),
    ("demo", "--keep", f"no/{EVIL}"),
]


@pytest.mark.parametrize("words", SAID, ids=range(len(SAID)))
def test_no_argument_comes_back_as_it_was(
    read: Read, cassette: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Our errors, click's, SQLite's: all of them quote what was typed, or what a file is called."""
    monkeypatch.chdir(cassette.parent)
    ran = read(*(str(cassette) if word == "{}" else word for word in words))
    assert ran.out + ran.err
    assert harmless(ran.out, ran.err)
    assert "Traceback" not in ran.err


LOOKED_AT: list[tuple[str, ...]] = [
    *(("ls", "{}", form) for form in ("--table", "--json", "--nl", "--csv", "--tsv", "--no-trunc")),
    *(("show", "{}", form) for form in ("--table", "--json", "--csv", "--print=mHBhbt")),
    *(("stats", "{}", *more) for more in (["--by", "model"], ["--by", "endpoint"], ["--json"], ["--csv"])),
    *(("info", "{}", form) for form in ("--table", "--json", "--csv")),
    ("verify", "{}", "--secrets", "--self-match"),
    ("show", "{}", ""),
]


@pytest.mark.parametrize("words", LOOKED_AT, ids=" ".join)
def test_no_cassette_moves_a_cursor(read: Read, watch: Watch, cassette: Path, words: tuple[str, ...]) -> None:
    """Into a pipe not one control character; on a terminal those of our own colours alone."""
    named = [str(cassette) if word == "{}" else word for word in words]
    ran = read(*named)
    assert harmless(ran.out, ran.err)
    for columns in (40, 160):
        _, said = watch(columns, *named)
        assert not set(said) & (MOVES - {"\x1b"})
        assert "\x1b]" not in said
        assert "\x1b[2J" not in said
    assert harmless(watch(80, *named, NO_COLOR="1")[1])


def test_an_ambiguous_id_lists_a_strangers_models(read: Read, tmp_path: Path) -> None:
    """`show FILE 1`: paths and models of what it may mean stand in the error."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(*(chat(f"{number}", model=f"{EVIL}{number}", started=number) for number in range(40)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exchange SET digest = CAST(x'10' || substr(digest, 2) AS BLOB)")
    connection.close()
    ran = read("show", path, "1")
    assert (ran.code, "begins several ids" in ran.err, r"\x1b]52" in ran.err) == (2, True, True)
    assert harmless(ran.err)


def test_no_variable_and_no_config_file_comes_back(
    read: Read, cassette: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and values; also where --help shows a default that a file gave."""
    config = tmp_path / "c.yaml"
    spelled = EVIL.encode("unicode_escape").decode()
    for text in (
        f'"{spelled}": 1',
        f'"{spelled}": {{port: 1}}',
        f'replay: {{"{spelled}": 1}}',
        f'replay: {{port: "{spelled}"}}',
        f'replay: {{host: "{spelled}", admin-host: "{spelled}", port: 0}}',
        f'replay: ["{spelled}',
    ):
        config.write_text(text)
        for more in ((), ("--help",)):
            ran = read("--config", config, "replay", tmp_path / "nothing.cassette", *more)
            assert harmless(ran.out, ran.err), text
    for name, value in (
        ("REPLAYPROXY_" + EVIL.replace("=", ""), "1"),
        ("REPLAYPROXY_PORT", EVIL),
        ("REPLAYPROXY_SPEED", EVIL),
    ):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            ran = read("replay", cassette)
        assert (ran.code, harmless(ran.out, ran.err)) == (2, True)


@pytest.mark.parametrize("statement", ['CREATE TABLE "{}" (a)', "DROP VIEW v_exchange", "UPDATE meta SET value = '{}'"])
def test_a_damaged_file_says_nothing_of_its_own(read: Read, cassette: Path, statement: str) -> None:
    """Names of tables, and values that cannot be read, stand in errors."""
    with closing(sqlite3.connect(cassette)) as connection, connection:
        connection.execute(statement.format(EVIL))
    connection.close()
    for verb in ("ls", "show", "info", "verify", "stats"):
        ran = read(verb, cassette)
        assert harmless(ran.out, ran.err)
        assert "Traceback" not in ran.err


def test_no_miss_moves_a_cursor_in_pytest() -> None:
    """A failure's text is printed by pytest as it is: it is made visible where the plugin makes it."""
    from replayproxy.pytest_plugin.miss_text import explanation_of
    from replayproxy.views.miss import Miss

    miss = Miss("no_match", Request("POST", f"/v1/{EVIL}", (), b""), "")
    assert harmless(explanation_of(miss))
