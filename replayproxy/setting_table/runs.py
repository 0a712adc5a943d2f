"""Rows of the table of settings. The process, the result of a run, and what only pytest has."""

from __future__ import annotations

from replayproxy.setting_kinds import Choice, File, Flag, Text, Whole
from replayproxy.setting_table.row import SERVING, InPytest, Setting

ROWS = (
    # The process, and what it reports
    Setting(
        "log_format",
        Choice(("text", "json")),
        "Format of the messages on stderr: text, or one JSON object per line with time and level.",
        verbs=(*SERVING, "exec"),
        group="log",
        default="text",
        in_python=False,
    ),
    Setting(
        "access_log",
        Flag(negatable=True),
        "Write one line per request to stderr; without it on a terminal only.",
        verbs=SERVING,
        group="log",
        short="-v",
        in_python=False,
    ),
    Setting(
        "log_level",
        Choice(("info", "warning", "error")),
        "Least level of the messages on stderr.",
        verbs=SERVING,
        group="log",
        default="info",
        in_python=False,
    ),
    Setting(
        "quiet",
        Flag(),
        "The same as --log-level warning --no-access-log.",
        verbs=SERVING,
        group="log",
        default=False,
        short="-q",
        in_python=False,
    ),
    Setting(
        "rt_priority",
        Whole(1, 99),
        "Real-time priority (SCHED_FIFO), if permitted, for a recorder that shares its cores with an engine.",
        verbs=("record",),
        group="process",
        in_python=False,
    ),
    Setting(
        "report",
        File(),
        "Write the result of the run to this file, as JSON.",
        verbs=("replay", "exec", "simulate"),
        group="judge",
        in_python=False,
        pytest=InPytest(
            "Write the result of the run to this file, as JSON.", "A file for the report", default="", metavar="FILE"
        ),
    ),
    Setting(
        "junit",
        File(),
        "Write the result of the run to this file, as JUnit XML.",
        verbs=("replay", "exec", "simulate"),
        group="judge",
        in_python=False,
    ),
    Setting(
        "fail_unused",
        Flag(),
        "Exit with 4 if a recording was not used.",
        verbs=("replay", "exec"),
        group="judge",
        default=False,
        in_python=False,
    ),
    Setting(
        "allow_empty",
        Flag(),
        "Accept a run that sent no request.",
        verbs=("exec",),
        group="judge",
        default=False,
        in_python=False,
    ),
    # Only in pytest
    Setting(
        "mode",
        Choice(("none", "once", "new_episodes", "all", "rewrite")),
        "none: replay only. once: record a cassette that does not exist. new_episodes: record what is not"
        " on it. all: record anew, and replace it when its tests passed. rewrite: delete it, then record.",
        default="none",
        pytest=InPytest("", "none, once, new_episodes, all or rewrite", by_test=True),
    ),
    Setting(
        "allow_record",
        Flag(),
        "Record also if the variable CI is set.",
        default=False,
        pytest=InPytest("", "Record also if CI is set"),
    ),
    Setting(
        "layout",
        Choice(("test", "module")),
        "One cassette per test, or per module.",
        default="test",
        pytest=InPytest("", "test or module"),
    ),
    Setting(
        "unused",
        Choice(("ignore", "warn", "fail")),
        "What to do about recordings that were not used.",
        default="warn",
        pytest=InPytest("", "ignore, warn or fail"),
    ),
    Setting(
        "block_network",
        Flag(),
        "Refuse connections that leave this machine.",
        default=False,
        pytest=InPytest("", "Refuse connections that leave this machine"),
    ),
    Setting(
        "allowed_hosts",
        Text(),
        "Hosts that tests may reach nevertheless.",
        is_repeatable=True,
        metavar="A,B",
        pytest=InPytest("", "Hosts that tests may reach nevertheless", metavar="A,B"),
    ),
)
