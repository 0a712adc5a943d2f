"""Faults on demand: which request gets one, what happens to its answer, and what the client made of it.

    text ──grammar──▶ Fault ──choice──▶ this request's fault ──delivery──▶ what to do at each chunk
                                                            └─failure_answers─▶ an answer in place of the source's
    requests, answers, their times ──conduct──▶ what the client did

Pure: no clock, no socket. Randomness comes from (seed, key, occurrence) and never from the order of arrival.
"""
