"""Keys are known by their shape, and nothing else is taken for one."""

from __future__ import annotations

import base64
import hashlib
import random
import uuid

import orjson
import pytest

from replayproxy.core.redaction import key_patterns

LETTERS = "aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA" * 4

KEYS = {
    "sk- key": [
        f"sk-{LETTERS[:48]}",
        f"sk-proj-{LETTERS[:40]}-_x",
        f"sk-ant-api03-{LETTERS[:80]}",
        f"sk-or-v1-{'0a' * 32}",
    ],
    "Hugging Face token": [f"hf_{LETTERS[:34]}", f"api_org_{LETTERS[:34]}"],
    "AWS access key id": ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"],
    "GitHub token": [f"ghp_{LETTERS[:36]}", f"ghs_{LETTERS[:36]}", f"github_pat_{LETTERS[:22]}_{LETTERS[:59]}"],
    "GitLab token": [f"glpat-{LETTERS[:20]}"],
    "Slack token": ["xoxb-123456789012-123456789012-abcdefABCDEF", "xoxp-1234567890-abcdef"],
    "Slack app token": ["xapp-1-A0123-456789-abcdef0123"],
    "Google API key": [f"AIza{LETTERS[:35]}"],
    "Google OAuth token": [f"ya29.{LETTERS[:60]}"],
    "Google OAuth secret": [f"GOCSPX-{LETTERS[:28]}"],
    "Stripe key": [f"sk_live_{LETTERS[:24]}", f"rk_test_{LETTERS[:24]}"],
    "webhook secret": [f"whsec_{LETTERS[:32]}"],
    "JWT": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"],
    "private key": [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nbase64+/==\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXk\\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    ],
    "npm token": [f"npm_{LETTERS[:36]}"],
    "PyPI token": [f"pypi-AgEIcHlwaS5vcmc{LETTERS[:60]}"],
    "SendGrid key": [f"SG.{LETTERS[:22]}.{LETTERS[:43]}"],
    "Groq key": [f"gsk_{LETTERS[:52]}"],
    "Replicate token": [f"r8_{LETTERS[:37]}"],
    "Perplexity key": [f"pplx-{LETTERS[:48]}"],
    "xAI key": [f"xai-{LETTERS[:80]}"],
    "NVIDIA key": [f"nvapi-{LETTERS[:64]}"],
    "Databricks token": ["dapi" + "0f" * 16],
}
AROUND = [
    *[("", ""), ("my key is ", ", keep it"), ('{"key":"', '"}'), ("Bearer ", "\\n"), ("a=", "&b=1"), ("(", ")")],
    *[("a line\\n", "\\n"), ("\\r\\n\\t", "\\r"), ("within JSON in JSON\\\\n", "\\\\n")],
    ("\\uff1a", "\\u3002"),
]

PARTLY = {
    f"https://x.blob.core.windows.net/a.png?se=2026&sig={LETTERS[:40]}%3D&sp=r": f"{LETTERS[:40]}%3D",
    f"https://b.s3.amazonaws.com/a?X-Amz-Signature={'0f' * 32}": "0f" * 32,
    "postgres://alice:hunter22@db.local/x": "hunter22",
    f"https://hooks.slack.com/services/T00000000/B00000000/{LETTERS[:24]}": f"T00000000/B00000000/{LETTERS[:24]}",
}

random_bytes = random.Random(7).randbytes
NOT_KEYS = [
    "The sky was grey; she asked Alice for help, task-by-task, and took a risk-free walk.",
    "sk-learn, sk-image and a desk-sized-but-otherwise-unremarkable-table-without-numbers",
    "see https://example.com:8080/a@b and mailto:alice@example.com, or http://user@host/path",
    str(uuid.UUID(int=2**127 + 12345)),
    hashlib.sha256(b"x").hexdigest(),
    "chatcmpl-9f8e7d6c5b4a49d8a7b6c5d4e3f2a1b0",
    "call_abc123DEF456ghi789",
    "rp1:0123456789abcdef0123456789abcdef",
    base64.b64encode(random_bytes(200_000)).decode(),
    base64.urlsafe_b64encode(random_bytes(200_000)).decode(),
    "data:image/png;base64," + base64.b64encode(random_bytes(50_000)).decode(),
    orjson.dumps([random.Random(3).uniform(-1, 1) for _ in range(3000)]).decode(),
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQ\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
    "AKIA is how an access key id begins; eyJ is how a token does; hf_ and ghp_ are prefixes, too",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqL alice@host",
    "import { sk_live } from './keys'; const hf_model_name = 'x'; xoxo, Gossip Girl",
]


def found(text: str) -> list[tuple[str, str]]:
    """What is found, and of which kind."""
    data = text.encode()
    return [(data[start:stop].decode(), kind) for start, stop, kind in key_patterns.find(data, 0, len(data))]


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in KEYS.items() for key in keys])
def test_a_key_is_found_whatever_stands_around_it(kind: str, key: str) -> None:
    """All of it, and nothing else."""
    for before, after in AROUND:
        if key.endswith("AASC") and after:
            continue  # a key that is cut off has no end
        assert key_patterns.has_hint((before + key + after).encode())
        assert found(before + key + after) == [(key, kind)]


@pytest.mark.parametrize(("text", "secret"), PARTLY.items())
def test_of_a_url_only_the_secret_is_masked(text: str, secret: str) -> None:
    """The rest tells where it leads."""
    assert [part for part, _ in found(text)] == [secret]


@pytest.mark.parametrize("text", NOT_KEYS, ids=lambda text: text[:20])
def test_what_is_no_key_is_left_alone(text: str) -> None:
    """Prose, digests, embeddings, images, certificates."""
    assert found(text) == []


def test_every_shape_has_a_row_here() -> None:
    """A kind without a test is none."""
    kinds = {*KEYS, *(kind for text in PARTLY for _, kind in found(text))}
    assert kinds == {shape.name for shape in key_patterns.KEY_PATTERNS}


@pytest.mark.parametrize("key", [keys[0] for kind, keys in KEYS.items()])
def test_a_key_that_is_not_over_is_waited_for(key: str) -> None:
    """At every cut, from where it begins or a little before, also at the beginning of a line within JSON."""
    for before in (b"so it is ", b"so it is\\n"):
        data = before + key.encode()
        for stop in range(len(before) + 1, len(data)):
            assert 9 <= key_patterns.incomplete_from(data[:stop]) <= len(before)


def test_a_long_beginning_is_held_back_whole() -> None:
    """However much of it has come: what begins it stands far before the end."""
    for size in (10, 140, 150, 200, 10_000):
        assert key_patterns.incomplete_from(b"so it is sk-" + b"a1" * size) == 9


def test_prose_is_not_waited_for() -> None:
    """A stream of words reaches the disk as it comes."""
    waited = [
        text
        for text in ("and the sea", "it is 12", '{"a":"b"}', "see http://x.y/z, ")
        if key_patterns.incomplete_from(text.encode()) < len(text)
    ]
    assert waited == []
