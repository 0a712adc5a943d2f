"""Tests of `errors`: a message names settings, and each entry point spells them its way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from replayproxy.api.server import record, replay
from replayproxy.cli.main import main
from replayproxy.errors import ReplayProxyError, SettingsError, as_flag, as_keyword, setting
from replayproxy.pytest_plugin.options import as_in_pytest


@pytest.mark.parametrize(
    ("name", "value", "flag", "keyword", "in_pytest"),
    [
        ("ssl_keyfile", "", "--ssl-keyfile", "ssl_keyfile", "ssl_keyfile"),
        ("on_miss", "forward", "--on-miss forward", "on_miss='forward'", "on_miss='forward'"),
        ("stall", "30", "--stall 30", "stall=30", "--replayproxy-stall 30"),
        ("stall", "0.5", "--stall 0.5", "stall=0.5", "--replayproxy-stall 0.5"),
        ("redact", "'re:a b'", "--redact 're:a b'", "redact='re:a b'", "redact='re:a b'"),
        ("upstream", "URL", "--upstream URL", "upstream='URL'", "--replayproxy-upstream URL"),
    ],
)
def test_a_setting_is_spelled_by_the_entry_point(
    name: str, value: str, flag: str, keyword: str, in_pytest: str
) -> None:
    """As a flag where none has another name for it."""
    error = SettingsError(f"{setting(name, value)} is wrong")
    assert str(error) == f"{flag} is wrong"
    for spelling, expected in ((as_flag, flag), (as_keyword, keyword), (as_in_pytest, in_pytest)):
        error.spelling = spelling
        assert str(error) == f"{expected} is wrong"


def test_text_that_looks_like_a_flag_stays() -> None:
    """Only what `setting` has named is spelled: a file may be called as a flag is."""
    error = ReplayProxyError(f"--sample is the file of {setting('report', '--sample')}")
    error.spelling = as_keyword
    assert str(error) == "--sample is the file of report='--sample'"
    assert repr(error) == """ReplayProxyError("--sample is the file of report='--sample'")"""


PYTHON = [
    ({"sample": 2.0}, "sample is a share between 0 and 1, not 2"),
    ({"prefill_kv": ["h:1"]}, "prefill_kv is for a pair: give prefill and decode too"),
    ({"drain": "soon"}, "drain 'soon' is not a duration"),
    ({"keep_header": ["Te"]}, "keep_header='te': the field belongs to one connection"),
    ({"upstream": None}, "record needs a live server: give its URL with upstream='http://HOST:PORT', or a pair's"),
]


@pytest.mark.parametrize(("options", "sentence"), PYTHON)
def test_python_gets_keywords(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    """Also for settings that do not fit together."""
    with pytest.raises(SettingsError, match=sentence):
        record(tmp_path / "a", **{"upstream": "http://127.0.0.1:9", **options})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"api_key_file": "none"}, "api_key_file='none' cannot be read"),
        ({"match_ignore": ["$["]}, "match_ignore='$[' "),
        ({"match_header": "authorization"}, "match_header='authorization' would put a credential"),
    ],
)
def test_python_gets_keywords_of_a_start_that_fails(options: dict[str, Any], sentence: str) -> None:
    """What only a start looks at."""
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}"):
        replay("cassettes/format-2.cassette", match_from="flags", **options).start()


def run_main(*words: str) -> int:
    """The console script in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code))


def test_the_command_line_gets_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag, a variable, or a key of the configuration file."""
    record = ("record", str(tmp_path / "a"), "--upstream", "http://127.0.0.1:9")
    assert run_main(*record, "--sample", "2") == 2
    assert "--sample is a share between" in capsys.readouterr().err
    config = tmp_path / "c.yaml"
    config.write_text("record:\n  sample: 2\n")
    assert run_main("--config", str(config), *record) == 2
    assert "sample (in --config) is a share between" in capsys.readouterr().err
    monkeypatch.setenv("REPLAYPROXY_SAMPLE", "2")
    assert run_main(*record) == 2
    assert "REPLAYPROXY_SAMPLE is a share between" in capsys.readouterr().err
