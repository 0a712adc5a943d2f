"""Compare answers and measured times: what two answers say, how they differ, and which differences count. Pure."""
