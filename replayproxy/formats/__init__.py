"""Formats of other programs: recordings go out, recordings come in, and each format says what it loses.

    format     what a format is: a name, a reader, a writer, and what it keeps
    table      all of them
    source     a file to import, read within bounds
    bodies     bodies, times and header fields in JSON
    request    what the body of a request says: messages, prompt, token ids
    workload   arrival, lengths, sessions and prefix hashes, for benchmarks

One file per format; a line in `table` registers it. A reader gives exchanges and a writer takes them: nothing here
knows a cassette, a terminal or a server, and masking secrets is the caller's part.
"""
