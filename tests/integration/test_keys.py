"""Keys: what each may, and until when."""

from __future__ import annotations

import pytest
import redis
from flask.testing import FlaskClient

from stentor.access import ADMIN, READ, SUBMIT, VOICES, KeyStore
from tests.integration.test_jobs_api import TEXT, refused


def acts_with(http: FlaskClient, client: redis.Redis, *scopes: str, owner: str = "acme") -> None:
    """Let the client send a key of these scopes from now on."""
    secret = KeyStore(client).create(owner=owner, name="scoped", scopes=scopes)
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        ((READ,), "GET", "/v1/jobs", 200),
        ((READ,), "POST", "/v1/jobs", 403),
        ((SUBMIT,), "POST", "/v1/jobs", 202),
        ((SUBMIT,), "GET", "/v1/jobs", 403),
        ((READ, VOICES, ADMIN), "DELETE", "/v1/jobs/job_x", 403),
        ((SUBMIT,), "DELETE", "/v1/jobs/job_x", 404),
        ((READ,), "GET", "/v1/voices", 200),
        ((READ,), "GET", "/v1/devices", 200),
        ((SUBMIT, READ, VOICES), "POST", "/v1/devices/testhost/cpu/unload", 403),
        ((ADMIN,), "POST", "/v1/devices/testhost/cpu/unload", 404),
        ((), "GET", "/v1/jobs", 403),
    ],
)
def test_a_key_does_what_its_scopes_say_and_no_more(
    http: FlaskClient, client: redis.Redis, scopes: tuple[str, ...], method: str, path: str, status: int
) -> None:
    acts_with(http, client, *scopes)
    body = {"text": TEXT} if (method, path) == ("POST", "/v1/jobs") else None
    response = http.open(path, method=method, json=body)
    assert response.status_code == status
    if status == 403:
        problem = refused(response, 403, "scope_missing")
        assert problem["retryable"] is False
        assert f"{method} {path}" in str(problem["detail"])


def test_a_scope_is_asked_for_before_the_body_is_read(http: FlaskClient, client: redis.Redis) -> None:
    acts_with(http, client, READ)
    refused(http.post("/v1/jobs", data=b"no json at all", content_type="text/plain"), 403, "scope_missing")
