"""The disk room: one SQLite file a cassette. Knows no socket and no story."""
