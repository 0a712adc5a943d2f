"""What people and programs want to know of recordings, as plain values. Knows no terminal, no SQL and no file.

A view asks a cassette through `port.Browser` and returns values; how they are printed is decided by the entry point.
"""
