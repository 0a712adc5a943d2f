"""The wire room: sockets, HTTP and the only clock. Knows no cassette and no story."""
