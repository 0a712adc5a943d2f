"""Rows of the table of settings. How recordings are played."""

from __future__ import annotations

from replayproxy.setting_kinds import Choice, Duration, Flag, Speed, Text
from replayproxy.setting_table.row import PLAYING, InPytest, Setting

ROWS = (
    # What replays
    Setting(
        "on_miss",
        Choice(("refuse", "forward", "record", "simulate")),
        "What to do with a request that has no recording. refuse never opens a connection; simulate invents an answer.",
        verbs=("replay", "exec"),
        group="miss",
        default="refuse",
        meanings={"exec": "What to do with a request that has no recording. record adds only what is missing."},
        goes_to="replaying.on_miss",
        pytest=InPytest(by_test=True, kind=Choice(("refuse", "forward"))),
    ),
    Setting(
        "at_end",
        Choice(("cycle", "last", "refuse")),
        "What follows the last recording of equal requests: the first again, the last again, or a miss.",
        verbs=("replay", "exec"),
        group="end",
        default="cycle",
        defaults={"exec": "refuse"},
        goes_to="replaying.at_end",
        pytest=InPytest(by_test=True, kind=Choice(("refuse", "cycle", "last")), default="refuse"),
    ),
    Setting(
        "speed",
        Speed(),
        "max: as fast as possible; 1: as recorded; 2: twice as fast.",
        verbs=PLAYING,
        group="pace",
        default="max",
        goes_to="replaying.speed",
        pytest=InPytest(
            "max (default), 1 as recorded, 2 twice as fast.", "max, or a factor", by_test=True, metavar="X"
        ),
    ),
    Setting(
        "allow_incomplete",
        Flag(),
        "Also play incomplete answers; they break at the same byte.",
        verbs=PLAYING,
        group="pace",
        default=False,
        goes_to="replaying.allow_incomplete",
    ),
    Setting(
        "stall",
        Duration(),
        "How long an answer whose client had left is held open; then it ends uncleanly.",
        verbs=PLAYING,
        group="pace",
        default="30s",
        goes_to="replaying.stall",
        pytest=InPytest(
            "Seconds that an answer whose client had left is held open (30).",
            "Seconds that an answer whose client had left is held open",
            by_test=True,
            default="30",
            metavar="SECONDS",
        ),
    ),
    Setting(
        "rechunk",
        Text(),
        "Send the recorded bytes in other chunks: one-byte, one-event, joined, split-utf8 or random:SEED.",
        verbs=("replay", "exec"),
        group="pace",
        metavar="FORM",
        goes_to="replaying.rechunk",
        pytest=InPytest(by_test=True),
    ),
    Setting(
        "server_metrics",
        Choice(("recorded", "computed")),
        "What /metrics serves: the server's, as recorded by --scrape-metrics; or computed from what is being played.",
        verbs=("replay",),
        group="pace",
        default="recorded",
        goes_to="replaying.server_metrics",
    ),
    Setting(
        "carry",
        Flag(),
        "Let an id that a tool drew anew stand for the recorded one where that is certain; the report lists each use.",
        verbs=("replay", "exec"),
        group="end",
        default=False,
        goes_to="replaying.carry",
        pytest=InPytest(by_test=True),
    ),
    Setting(
        "cors",
        Text(),
        "Web pages of this origin may read answers, even if the server did not allow it. May be repeated.",
        verbs=PLAYING,
        group="pace",
        is_repeatable=True,
        metavar="ORIGIN|*",
        goes_to="replaying.origins",
    ),
)
