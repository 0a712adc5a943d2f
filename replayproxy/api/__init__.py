"""The public API: read and write cassettes, replay and record from Python. `import replayproxy` gives its names.

    with Cassette.open("chat.cassette") as cassette:            exchanges, by time, by id, by conditions
    with replay("chat.cassette") as server:                     server.url, server.calls, server.report()
    with record("chat.cassette", upstream="http://127.0.0.1:8000") as server:

`cassettes` knows no server, `server` knows no cassette's content; `options` are the keywords of `replay` and `record`.
"""
