"""Tests of `cli/config_check`: every mistake of a file is found at once, and nothing that is right is refused."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from replayproxy.cli.config_check import checked
from replayproxy.cli.main import replayproxy


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert isinstance(replayproxy, click.Group)
    return checked(replayproxy, file).mistakes


RIGHT = [
    "",
    "record:\n",
    "record: {exclude: [/v1/audio/*], drain: 1m}",  # its server comes from the command line
    "record: {prefill: ['http://a'], decode: ['http://b'], pd: plain}",
    "exec: {on-miss: record}\nreplay: {speed: 2, port: 0, admin-port: off}",
    "simulate: {model: tiny, ttft: 200ms}\nls: {sort: ttft_s}\nctl: {admin: 'http://127.0.0.1:1', scope: a}",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_a_proxy_would_take_is_right(tmp_path: Path, text: str) -> None:
    """What is missing may still come from the command line."""
    assert mistakes(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("recrod: {}", ["there is no verb 'recrod' (did you mean record?)"]),
        (
            "record: {prot: 1}\nctl: {admn: a}",
            ["record has no option 'prot' (did you mean port?)", "ctl has no option"],
        ),
        ("replay: {speed: fast, port: 99999}", ["replay: speed: 'fast' is not a speed", "replay: port: 99999"]),
        ("record: {ssl-keyfile: nope.pem}", ["record: ssl-keyfile: there is no file nope.pem"]),
        (
            "record: {upstream: 'http://a', prefill: ['http://b'], decode: ['http://c']}",
            ["upstream is one server, prefill and decode are"],
        ),
        ("replay: {upstream: 'http://a'}", ["add on-miss: forward or on-miss: record"]),
        ("simulate: {fail: [zonk]}", ["simulate: fail 'zonk' is not a fault"]),
        (
            "record: {sample: 2}\nreplay: {at-end: never}",
            ["sample is a share between 0 and 1, not 2", "replay: at-end: 'never'"],
        ),
    ],
)
def test_every_mistake_is_a_sentence_with_its_section(tmp_path: Path, text: str, sentences: list[str]) -> None:
    """All of them, in the order of the file, with settings as the file spells them."""
    found = mistakes(tmp_path, text)
    assert len(found) == len(sentences)
    assert [sentence for sentence, mistake in zip(sentences, found, strict=True) if sentence not in mistake] == []


def test_the_environment_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is checked, for the machine on which it will be used."""
    monkeypatch.setenv("REPLAYPROXY_PORT", "nonsense")
    assert mistakes(tmp_path, "record: {port: 1}") == []
