"""Record and replay LLM servers: the same bytes, the same chunk boundaries, the same beat.

A source plays an answer to listeners. A live server is a source, a cassette is a source, a simulator is a source; the
client is a listener, the tape is a listener. Everything else decides which source plays.

    record    socket -> Request -> decide -> Upstream plays -> client and Tape listen -> Piece -> Writer -> Cassette
    replay    socket -> Request -> key -> decide -> Cassette.read -> Player plays on time -> client listens

    floor 4   cli/ pytest_plugin/               doors
    floor 3   lifetime assembly settings admin/         the only place where rooms meet
    floor 2   proxy/ (story)  cassette/ (disk)  net/ (wire)     they do not import one another
    floor 1   core/                             pure
    floor 0   model errors ports                words

Read in this order: `model`, `ports`, `proxy/handler`, `core/policy`, `core/matching`, `core/timing`, `cassette/schema`,
`net/server`.
"""

__version__ = "0.1.0"
