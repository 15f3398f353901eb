"""The address of Redis in ``STENTOR_REDIS_URL``: one server, or sentinels that know which server is the master."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SERVER_SCHEMES: Final = ("redis", "rediss", "unix")
SENTINEL_SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT: Final = 26379
#: Parameters that the query of a sentinel URL may have.
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_username", "sentinel_password", "ssl_ca_certs", "ssl_check_hostname"})
_FORM: Final = "redis+sentinel://user:password@host1:26379,host2:26379,host3:26379/master/0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentinels:
    """Sentinels, and the name of the master that they know."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int = 0
    #: For the master.
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    #: For the sentinels themselves.
    sentinel_username: str | None = None
    sentinel_password: str | None = dataclasses.field(default=None, repr=False)
    #: For both: TLS, and a file of the certificate authorities to trust; None trusts those of the system.
    tls: bool = False
    ssl_ca_certs: str | None = None
    ssl_check_hostname: bool = True

    @property
    def tls_options(self) -> dict[str, Any]:
        """Options of redis-py's TLS connections; empty without TLS."""
        if not self.tls:
            return {}
        options: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": self.ssl_check_hostname}
        return options | ({"ssl_ca_certs": self.ssl_ca_certs} if self.ssl_ca_certs else {})

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """Options of connections to the sentinels, without timeouts."""
        options: dict[str, Any] = {"username": self.sentinel_username, "password": self.sentinel_password}
        given = {name: value for name, value in options.items() if value is not None}
        return given | ({"ssl": True, **self.tls_options} if self.tls else {})

    @property
    def broker_url(self) -> str:
        """The URL in kombu's own form; kombu takes the other parts as transport options."""
        login = ""
        if self.password is not None:
            login = f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@"
        return ";".join(f"sentinel://{login}{_in_brackets(host)}:{port}/{self.db}" for host, port in self.hosts)


def uses_tls(url: str) -> bool:
    """Whether a URL asks for TLS."""
    return url.startswith(("rediss://", "rediss+sentinel://"))


def server_tls(url: str, ca: Path | None = None) -> dict[str, Any]:
    """Options of redis-py's and kombu's TLS connections to the server of a URL; empty without TLS.

    Parameters in the URL's query take precedence. kombu verifies nothing unless it is asked to.
    """
    if not url.startswith("rediss://"):
        return {}
    options: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    if ca is not None:
        options["ssl_ca_certs"] = str(ca)
    said = {name: value for name, value in parse_qsl(urlsplit(url).query) if name.startswith("ssl_")}
    if "ssl_check_hostname" in said:
        options["ssl_check_hostname"] = said.pop("ssl_check_hostname").lower() != "false"
    return options | said


def sentinels_of(url: str, ca: Path | None = None) -> Sentinels | None:
    """The sentinels that a URL names; None if it names a server.

    ``ca`` is trusted for TLS unless the URL names another file.

    Raises:
        ValueError: the form of the URL is unknown. The sentence shows the allowed form, and no password.
    """
    scheme = url.partition("://")[0]
    if scheme in SERVER_SCHEMES:
        return None
    if scheme not in SENTINEL_SCHEMES:
        wanted = ", ".join(f"{known}://" for known in (*SERVER_SCHEMES, *SENTINEL_SCHEMES))
        raise ValueError(f"The URL must begin with one of {wanted}.")
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    master, _, db = parts.path.strip("/").partition("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if strange := sorted(set(options) - _SENTINEL_OPTIONS):
        raise ValueError(
            f"Unknown parameters {', '.join(strange)} in the URL. Allowed: {', '.join(sorted(_SENTINEL_OPTIONS))}."
        )
    if not master or not hosts or not (db or "0").isdecimal():
        raise ValueError(f"A URL of sentinels must have the form {_FORM}.")
    return Sentinels(
        hosts=tuple(_host(one) for one in hosts.split(",")),
        master=unquote(master),
        db=int(db or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=scheme == "rediss+sentinel",
        ssl_ca_certs=options.get("ssl_ca_certs") or (str(ca) if ca else None),
        ssl_check_hostname=options.get("ssl_check_hostname", "true").lower() != "false",
    )


def _host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"The URL must name hosts and ports as in {_FORM}.") from exc
    if not host:
        raise ValueError(f"A host's name is missing. The URL must have the form {_FORM}.")
    return host, port or SENTINEL_PORT


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host
