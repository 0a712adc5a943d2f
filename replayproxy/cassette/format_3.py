"""Format 3: the tables of format 2, smaller where a file is sealed.

The layout of a bundle may have two elements more, for what can be made smaller by looking at many exchanges at once:

    [steps, sizes of the requests, of the times, of the codes, of the answers,
     by what requests and answers are compressed (0 zstd, 1 brotli),
     nil, or where times are coded together: the codes, and the exchanges and bytes of each group (`joint_times`);
     then the sizes of the times are how many there are]

A sealed file of few exchanges has no index of keys (`large_indexes`).
"""

from __future__ import annotations

from replayproxy.cassette import format_2

SCHEMA = format_2.SCHEMA

OPTIONAL = frozenset({"exchange_place"})
"""Indexes that a sealed file may lack."""
