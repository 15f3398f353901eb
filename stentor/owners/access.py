"""API keys: their owners, scopes and limits. Redis stores only a key's SHA-256, never the key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import redis

from stentor.errors import KeyExpired, KeyInvalid
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list, text_map

#: Every key starts with this, so that leak scanners and people recognise it.
KEY_PREFIX = "stk_"
#: Random bytes of a key: too many to guess, so one round of SHA-256 is enough for storage.
KEY_BYTES = 24
#: Characters of the hash that identify a key in lists.
ID_CHARS = 12

SUBMIT: Final = "submit"
READ: Final = "read"
VOICES: Final = "voices"
ADMIN: Final = "admin"
#: What a key may do: submit and cancel jobs, bulks and webhooks; read; add and delete voices; give orders to devices.
SCOPES: Final = (SUBMIT, READ, VOICES, ADMIN)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of an API key; None is no limit."""

    #: Requests per unit of time, such as ``600/minute``.
    rate: str | None = None
    #: Characters submitted in a day (UTC).
    daily_chars: int | None = None
    #: Jobs without an outcome, not counting rows of bulks.
    waiting_jobs: int | None = None


NO_LIMITS: Final = Limits()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ApiKey:
    """An API key. All keys of one owner see the same jobs, bulks, voices and webhooks."""

    id: str
    owner: str
    name: str
    created_at: str
    scopes: tuple[str, ...] = SCOPES
    #: RFC 3339; None for a key that does not expire.
    expires_at: str | None = None
    #: Its own limits; where one is None, the service's limit holds.
    limits: Limits = NO_LIMITS

    @property
    def is_expired(self) -> bool:
        """Whether it has expired."""
        return self.expires_at is not None and datetime.fromisoformat(self.expires_at).timestamp() <= time.time()


def raise_if_expired(key: ApiKey) -> None:
    """Raise ``KeyExpired`` if the key has expired."""
    if key.is_expired:
        raise KeyExpired(f"The API key expired at {key.expires_at}. Use another key.")


def new_secret() -> str:
    """A new key; it is shown once and never stored."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class KeyStore:
    """The API keys, in one Redis hash by their SHA-256.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def create(
        self,
        *,
        owner: str,
        name: str,
        scopes: Collection[str] = SCOPES,
        expires_at: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> str:
        """A new secret for ``owner``; it cannot be read again."""
        secret = new_secret()
        self.put(secret, owner=owner, name=name, scopes=scopes, expires_at=expires_at, limits=limits)
        return secret

    def put(
        self,
        secret: str,
        *,
        owner: str,
        name: str,
        scopes: Collection[str] = SCOPES,
        expires_at: str | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        """Let ``secret`` act for ``owner``. A second call changes nothing."""
        record = {
            "owner": owner,
            "name": name,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "scopes": [scope for scope in SCOPES if scope in scopes],
            "expires_at": expires_at,
            "limits": dataclasses.asdict(limits),
        }
        with redis_errors():
            self._client.hsetnx(keys.API_KEYS, _digest(secret), json.dumps(record))

    def find(self, secret: str) -> ApiKey:
        """The key of this secret.

        Raises:
            KeyInvalid: no such key exists, or it was revoked.
            KeyExpired: it has expired.
        """
        digest = _digest(secret)
        with redis_errors():
            record = self._client.hget(keys.API_KEYS, digest)
        if record is None:
            raise KeyInvalid("Unknown API key. This service did not create it, or it was revoked.")
        key = _api_key(digest, str(record))
        raise_if_expired(key)
        return key

    def list(self) -> list[ApiKey]:
        """All keys, oldest first."""
        with redis_errors():
            records = text_map(self._client.hgetall(keys.API_KEYS))
        found = [_api_key(digest, record) for digest, record in records.items()]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str) -> bool:
        """Whether a key with this id existed; it is refused from now on."""
        with redis_errors():
            digests = [digest for digest in text_list(self._client.hkeys(keys.API_KEYS)) if digest.startswith(key_id)]
            if len(digests) != 1 or len(key_id) < ID_CHARS:
                return False
            return bool(self._client.hdel(keys.API_KEYS, digests[0]))


def _api_key(digest: str, record: str) -> ApiKey:
    data = json.loads(record)
    return ApiKey(
        id=digest[:ID_CHARS],
        owner=data["owner"],
        name=data["name"],
        created_at=data["created_at"],
        scopes=tuple(data.get("scopes", SCOPES)),
        expires_at=data.get("expires_at"),
        limits=Limits(**data.get("limits", {})),
    )
