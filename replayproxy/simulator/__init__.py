"""A server that answers without a recording: the endpoints of vLLM 0.32, with invented text, at times that are given.

    Request ──▶ Simulator ──▶ endpoint reads the body ──▶ Composer invents tokens ──▶ Engine paces them ──▶ Listener

The engine has a running set and a waiting queue; who follows it (metrics) is an `EngineListener`, and who has a say
in what may start (KV cache, adapter slots) is an `AdmissionRule`. All randomness comes from (seed, key of the request,
how often it came before), so the order of arrival changes no answer.
"""
