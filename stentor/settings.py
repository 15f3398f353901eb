"""Settings: read once, from ``STENTOR_*`` variables and secret files, and frozen."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field, SecretStr

from stentor.days import DAY_S
from stentor.devices.windows import Windows
from stentor.errors import SettingInvalid, SettingUnknown
from stentor.redis.url import sentinels_of, uses_tls

PREFIX = "STENTOR_"
#: A variable with this suffix names a file that holds the value, as Docker and Kubernetes mount secrets.
FILE_SUFFIX = "_FILE"
#: Variables that are not settings: the CLI's address, key and data directory.
CLIENT_VARIABLES = frozenset({"STENTOR_API_URL", "STENTOR_API_KEY", "STENTOR_DATA_DIR"})

HTTP_URL = r"^https?://[^/\s]+"
#: A number of requests per unit of time.
RATE = r"^[1-9]\d{0,8}/(second|minute|hour|day)$"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(pydantic.BaseModel):
    """All settings; each field is the variable ``STENTOR_<NAME>``. Units are in the names."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Where Redis or Valkey answers; may contain a password. With TLS `rediss://host:6380/0`; with "
        "sentinels `redis+sentinel://user:password@host1:26379,host2:26379/master/0`.",
    )
    redis_tls_ca: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust for Redis with TLS. Not set: those of the "
        "system.",
    )
    redis_replicas: int = Field(
        0,
        ge=0,
        le=10,
        description="Number of Redis replicas that must have a job before it is accepted. Use 1 where a replica may "
        "take over.",
    )
    s3_endpoint: str = Field("http://127.0.0.1:8333", description="Where S3 answers.", pattern=HTTP_URL)
    s3_public_endpoint: str | None = Field(
        None,
        pattern=HTTP_URL,
        description="Where clients reach S3, if that is another address. Presigned URLs use it.",
    )
    s3_region: str = Field("us-east-1", description="Region for the signature.")
    s3_bucket: str = Field("stentor", description="Bucket for all objects.", min_length=3, max_length=63)
    s3_access_key: SecretStr = Field(SecretStr(""), description="S3 access key.")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="S3 secret key.")

    host: str = Field(
        default_factory=socket.gethostname,
        description="This machine's name in device ids. Two machines must not share a name.",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
    )
    node: str | None = Field(
        None,
        description="Name of the machine that has the GPUs, where several hosts share one, as pods on a Kubernetes "
        "node do. Not set: STENTOR_HOST.",
        pattern=r"^[A-Za-z0-9._-]{1,253}$",
    )
    worker_device: str | None = Field(
        None,
        description="The device of a worker process. `stentor worker --device` sets it.",
        pattern=r"^(cpu|cuda:\d+)$",
    )
    voices_dir: Path | None = Field(
        None, description="Folder of Piper voices (`.onnx` files, each with its `.onnx.json`)."
    )
    default_voice: str = Field("joe", description="Voice of a job that names none.")
    simulated: str | None = Field(
        None,
        description="A GPU to simulate, for benchmarks: `l4`, or `l4*10` for one that runs ten times as fast.",
        pattern=r"^[a-z0-9]+(\*\d+(\.\d+)?)?$",
    )
    device_memory_gb: Positive | None = Field(
        None,
        description="Maximum memory of a device's process, in GB: GPU memory on CUDA, resident memory on a CPU.",
    )

    loudness_lufs: float | None = Field(
        None,
        ge=-40,
        le=-5,
        description="Loudness of all audio, in LUFS (-16 for web, -23 for broadcast). Not set: loudness is not "
        "changed.",
    )

    max_text_chars: int = Field(
        10_000, ge=1, le=1_000_000, description="Maximum length of a job's text, in characters."
    )
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="Maximum size of a request's body, in bytes.")
    max_jobs_per_request: int = Field(1000, ge=1, le=10_000, description="Maximum number of jobs in one request.")
    max_wait_s: float = Field(60, ge=0, le=600, description="Maximum `?wait=` of a request, in seconds.")
    public_url: str | None = Field(
        None,
        pattern=HTTP_URL,
        description="Where clients reach the API, for URLs in manifests and webhooks. Not set: the address of the "
        "request.",
    )
    presign_s: int = Field(3600, ge=1, le=604_800, description="How long an audio URL is valid, in seconds.")
    retention_s: int = Field(30 * DAY_S, ge=60, description="How long a settled job is kept, in seconds.")

    cache: str = Field(
        "on",
        pattern="^(on|off)$",
        description="Whether a job that equals an earlier one gets the earlier audio without being spoken: `on` or "
        "`off`.",
    )
    cache_s: int = Field(
        7 * DAY_S,
        ge=1,
        description="How long audio is reused for equal jobs after it was spoken, in seconds. Must be well below the "
        "time after which the bucket deletes objects.",
    )

    rate_limit: str | None = Field(
        None,
        pattern=RATE,
        description="Number of requests that an API key may send, such as `600/minute`. Not set: no limit. A key may "
        "have its own limit.",
    )
    daily_chars: int | None = Field(
        None, ge=1, description="Number of characters that an API key may submit in a day (UTC). Not set: no limit."
    )
    max_waiting_jobs: int | None = Field(
        None,
        ge=1,
        description="Number of jobs of an API key that may wait at a time, without those of bulks. Not set: no limit.",
    )
    idempotency_s: int = Field(DAY_S, ge=60, description="How long an `Idempotency-Key` is remembered, in seconds.")
    speech_wait_s: Positive = Field(
        120, description="How long `POST /v1/audio/speech` waits for the audio, in seconds."
    )
    openai_voices: str | None = Field(
        None,
        pattern=r"^[\w.:-]+=[\w.:-]+(,[\w.:-]+=[\w.:-]+)*$",
        description="Names of OpenAI's voices, each with the voice that speaks for it: `alloy=joe,nova=joe`.",
    )

    bulk_max_bytes: int = Field(
        2**30, ge=1024, description="Maximum size of a bulk's file, packed or unpacked, in bytes."
    )
    bulk_max_rows: int = Field(10_000_000, ge=1, description="Maximum number of rows of a bulk.")
    bulk_wait_s: float = Field(
        45, ge=0, le=600, description="How long `POST /v1/bulks` waits for the check of the file, in seconds."
    )
    bulk_window: int = Field(
        4000, ge=10, le=1_000_000, description="Maximum number of rows of all bulks that are in the queue at a time."
    )
    bulk_sources: str | None = Field(
        None,
        pattern=r"^[a-z0-9.-]+(,[a-z0-9.-]+)*$",
        description="Buckets, separated by commas, that a bulk's `source` may name.",
    )

    webhook_allow: str | None = Field(
        None,
        description="Private networks that webhooks may be sent to, as CIDRs separated by commas: `10.1.0.0/16`.",
    )
    webhook_timeout_s: Positive = Field(
        15, le=60, description="How long a webhook's receiver may take to answer, in seconds."
    )
    webhook_concurrency: int = Field(
        8, ge=1, le=256, description="Number of webhooks that are sent to one receiver at the same time."
    )
    webhook_keep_s: int = Field(7 * DAY_S, ge=60, description="How long webhook deliveries are kept, in seconds.")

    recording_max_bytes: int = Field(50_000_000, ge=1024, description="Maximum size of a voice's recording, in bytes.")

    merge_window_ms: int = Field(
        30,
        ge=0,
        le=5000,
        description="How long a free device waits for more texts when a batch is not full, in ms.",
    )
    drain_s: Positive = Field(
        20, description="How long a device works on waiting texts before it looks for orders, in seconds."
    )
    bulk_max_wait_s: Positive = Field(
        600, description="How long a text may wait before it counts as `interactive`, in seconds."
    )
    lease_s: Positive = Field(
        60, description="How long a device may be silent before its jobs are given to other devices, in seconds."
    )
    batch_deadline_s: Positive = Field(
        60, description="How much longer than its audio a forward pass may take before it is ended, in seconds."
    )
    max_attempts: int = Field(3, ge=1, le=20, description="Maximum number of attempts to speak a job before it fails.")
    storage_retry_s: Positive = Field(
        3600, description="How long storing audio is retried before its job fails, in seconds."
    )
    ring_after_s: Positive = Field(
        5, description="How long texts may wait before the scheduler calls the devices again, in seconds."
    )
    unload_windows: str | None = Field(
        None,
        description="When models leave their devices: `02:00-05:00 Asia/Shanghai`, `Sat,Sun 00:00-24:00 UTC`; "
        "separate several with `;`. A window may last over midnight.",
    )
    window_bulk: str = Field(
        "hold",
        pattern="^(hold|run)$",
        description="What happens to rows of bulks in a window: `hold` keeps them until it ends, `run` loads the "
        "models again.",
    )
    unload_grace_s: float = Field(
        60, ge=0, description="In a window: how long a model must be idle before it is unloaded, in seconds."
    )
    idle_unload_s: Positive | None = Field(
        None,
        description="Outside of windows: how long a model must be idle before it is unloaded, in seconds. Not set: "
        "models stay loaded.",
    )
    prewarm_s: float = Field(120, ge=0, description="How long before a window ends to reload models, in seconds.")
    idle_clocks_s: float = Field(
        300,
        ge=0,
        description="How long a GPU must be idle before its clocks are lowered, in seconds. 0: clocks are not changed.",
    )
    dwell_s: float = Field(
        300,
        ge=0,
        description="Minimum time between two power-saving changes of a device, in seconds. Work never waits for it.",
    )
    price_kwh: float | None = Field(None, ge=0, description="Price of one kWh for the bill, in any currency.")
    price_gpu_hour: float | None = Field(None, ge=0, description="Price of one GPU hour, in the same currency.")
    metrics_bind: str | None = Field(
        None,
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):\d{1,5}$",
        description="Where the scheduler serves `/metrics`, such as `127.0.0.1:9464`. Not set: nowhere.",
    )
    api_metrics: str = Field(
        "on",
        pattern="^(on|off)$",
        description="Whether the API serves `/metrics`, without a key: `on` or `off`. A proxy must not expose it.",
    )
    sweep_objects: str = Field(
        "on",
        pattern="^(on|off)$",
        description="Whether expired audio and files of bulks are removed from the bucket: `on` or `off`.",
    )

    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Minimum level of logged events."
    )
    log_format: str = Field(
        "json", pattern="^(json|console)$", description="`json` for machines, or `console` for people."
    )

    @property
    def machine(self) -> str:
        """The machine whose GPUs a device is on, and whose clocks a scheduler keeps."""
        return self.node or self.host

    @pydantic.field_validator("redis_url")
    @classmethod
    def _has_a_scheme_that_redis_knows(cls, url: SecretStr) -> SecretStr:
        sentinels_of(url.get_secret_value())
        return url

    @pydantic.field_validator("redis_tls_ca")
    @classmethod
    def _holds_authorities_that_are_asked_for(cls, ca: Path | None, info: pydantic.ValidationInfo) -> Path | None:
        url = info.data.get("redis_url")
        if ca is None or url is None:
            return ca
        if not uses_tls(url.get_secret_value()):
            raise ValueError("STENTOR_REDIS_URL does not use TLS. Begin it with rediss:// or rediss+sentinel://.")
        try:
            ssl.create_default_context(cafile=ca)
        except OSError as exc:
            raise ValueError(f"The file cannot be read as certificates in PEM form: {exc}") from exc
        return ca

    @pydantic.field_validator("webhook_allow")
    @classmethod
    def _is_a_list_of_networks(cls, networks: str | None) -> str | None:
        for network in (networks or "").split(","):
            if network.strip():
                ipaddress.ip_network(network.strip())
        return networks

    @pydantic.field_validator("unload_windows")
    @classmethod
    def _is_a_list_of_windows(cls, windows: str | None) -> str | None:
        Windows.parse(windows)
        return windows

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of the ``STENTOR_*`` variables in ``environ``; other variables are ignored.

        Raises:
            SettingUnknown: a variable has the prefix but names no setting.
            SettingInvalid: a value is not allowed, or a secret file cannot be read.
        """
        values: dict[str, str] = {}
        for variable, raw in sorted(environ.items()):
            if not variable.startswith(PREFIX) or variable in CLIENT_VARIABLES:
                continue
            field, value = _field_and_value(variable, raw, environ)
            values[field] = value
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as exc:
            raise SettingInvalid("; ".join(_sentence(error) for error in exc.errors())) from exc


def _field_and_value(variable: str, raw: str, environ: Mapping[str, str]) -> tuple[str, str]:
    field = variable.removeprefix(PREFIX).lower()
    if field in Settings.model_fields:
        return field, raw
    field = field.removesuffix(FILE_SUFFIX.lower())
    if not variable.endswith(FILE_SUFFIX) or field not in Settings.model_fields:
        raise SettingUnknown(f"{variable} is set, but no setting has this name. See docs/reference/settings.md.")
    plain = variable.removesuffix(FILE_SUFFIX)
    if plain in environ:
        raise SettingInvalid(f"{variable} and {plain} are both set. Keep one of them.")
    try:
        return field, Path(raw).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingInvalid(f"{variable} names {raw!r}, which cannot be read as text: {exc}.") from exc


def _sentence(error: object) -> str:
    assert isinstance(error, dict)
    variable = PREFIX + "_".join(str(part) for part in error["loc"]).upper()
    secret = any(word in variable for word in ("KEY", "URL"))
    seen = "set to a secret value" if secret else repr(error["input"])
    return f"{variable} is {seen}: {error['msg'].removeprefix('Value error, ')}"
