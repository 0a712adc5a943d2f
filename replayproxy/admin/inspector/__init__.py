"""The inspector: recordings in a browser. On the admin port of a running proxy, and by `replayproxy web` on its own.

    URL ──▶ access ──▶ pages/… ask library (threads, one SQLite connection each) ──▶ Page ──▶ HTML or JSON

Each page has a `.json` twin with the same data. Pages are made whole by the server; the script only adds keys and live
tail. Recorded text is hostile: templates escape it, control characters in it become visible, and it is never markup.
Nothing here writes.
"""
