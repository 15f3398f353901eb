"""Where Redis is, as its URL tells."""

from __future__ import annotations

import pytest

from stentor.redis.url import Sentinels, sentinels_of


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://:p@h:1/0", "unix:///run/redis.sock"])
def test_a_url_of_a_server_names_no_sentinels(url: str) -> None:
    assert sentinels_of(url) is None


def test_sentinels_are_read_with_their_master_and_both_logins() -> None:
    url = "redis+sentinel://us%40er:p%3Aw@a:1,[::1]:2,c/my%20master/3?sentinel_password=s%26t"
    found = sentinels_of(url)
    assert found == Sentinels(
        hosts=(("a", 1), ("::1", 2), ("c", 26379)),
        master="my master",
        db=3,
        username="us@er",
        password="p:w",
        sentinel_password="s&t",
    )
    assert found.broker_url == (
        "sentinel://us%40er:p%3Aw@a:1/3;sentinel://us%40er:p%3Aw@[::1]:2/3;sentinel://us%40er:p%3Aw@c:26379/3"
    )
    assert found.sentinel_options == {"password": "s&t"}
    assert "p:w" not in repr(found)
    assert "s&t" not in repr(found)


def test_tls_is_for_the_sentinels_and_the_master() -> None:
    found = sentinels_of("rediss+sentinel://a:1/m?ssl_ca_certs=/ca.pem")
    assert found is not None
    assert found.tls_options == {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": "/ca.pem"}
    assert found.sentinel_options == {"ssl": True, **found.tls_options}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "must begin with one of redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://"),
        ("redis+sentinel://:geheim@a:1", "form redis+sentinel://"),
        ("redis+sentinel:///m", "form redis+sentinel://"),
        ("redis+sentinel://a:1/m/x", "form redis+sentinel://"),
        ("redis+sentinel://a:x/m", "must name hosts and ports"),
        ("redis+sentinel://a:1,/m", "A host's name is missing"),
        ("redis+sentinel://a:1/m?passwort=x", "Unknown parameters passwort in the URL"),
    ],
)
def test_a_url_that_cannot_be_read_is_told_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        sentinels_of(url)
    assert says.partition(";")[0] in str(refused.value)
    assert "geheim" not in str(refused.value)
