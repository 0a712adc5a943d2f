"""Load datasette once, before any test: modules of its own leave a connection to a database in memory unclosed."""

from __future__ import annotations

import gc
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)
    import datasette.app  # noqa: F401  what is needed of it is that it has been loaded

    # The connection is collected here, where the warning about it fails no test of ours.
    gc.collect()
