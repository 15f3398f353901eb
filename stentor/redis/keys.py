"""Every Redis key of Stentor, in one place.

| key                                     | type   | what it holds |
|-----------------------------------------|--------|---------------|
| stentor:job:<id>                        | hash   | a job; its fields are those of ``stentor.jobs.job.Job`` |
| stentor:jobs:<owner>:<index>            | zset   | ids at score 0: ``open`` (no outcome yet), or of a state |
| stentor:lane:<model>:<priority>:<class> | stream | waiting and claimed jobs as ``{job: id}``; one group |
| stentor:lanes                           | set    | keys of all lanes that ever held a job |
| stentor:backlog                         | hash   | lane -> what waits in it, recorded by the scripts that change it |
| stentor:voices                          | hash   | voice name -> the voice as JSON, registered by workers |
| stentor:recordings:<owner>              | hash   | name -> an uploaded voice as JSON |
| stentor:recording:<id>:uses             | set    | jobs and bulks without an outcome that use it |
| stentor:recording:deleted               | hash   | id -> a deleted voice as JSON; removed after its last use |
| stentor:recording:of:<sha256>           | set    | ids of the uploaded voices that have the same audio in S3 |
| stentor:recording:of:<sha256>:lock      | string | a process is storing or removing that audio; expires |
| stentor:keys                            | hash   | SHA-256 of an API key -> its owner, scopes and limits as JSON |
| stentor:waiting:<key id>                | string | number of jobs of a key without an outcome |
| stentor:usage:<key id>:<day>            | hash   | usage of a key on a day (since the epoch); expires |
| stentor:usage:<owner>                   | set    | ids of all API keys that were ever used |
| stentor:idempotency:<owner>:<hash>      | hash   | a request and its answer; expires |
| stentor:limits:*                        |        | of the library `limits`: requests that a key has sent; expires |
| stentor:bulk:<id>                       | hash   | a bulk; its fields are those of ``stentor.bulks.bulk.Bulk`` |
| stentor:bulk:<id>:open                  | hash   | chunk -> number of its rows that were added to lanes |
| stentor:bulk:<id>:outcomes:<chunk>      | hash   | row -> its outcome as JSON; moves to S3 with its chunk |
| stentor:bulk:<id>:failures              | hash   | chunk in S3 -> number of its failed rows, if any |
| stentor:bulk:<id>:redo                  | set    | chunks in S3 whose failed rows are to be retried |
| stentor:bulk:<id>:lock:<work>           | string | the process that packs the archive or joins the groups; expires |
| stentor:bulks:<owner>                   | zset   | ids of the owner's bulks at score 0 |
| stentor:active_bulks                    | set    | ids of bulks that the feeder works on |
| stentor:feeder                          | string | the process that adds rows of bulks to lanes; expires |
| stentor:webhooks:<owner>                | hash   | endpoint id -> the endpoint as JSON |
| stentor:outbox                          | stream | webhook events to send: ``{type, id, owner}``; one group |
| stentor:signing:<owner>                 | string | signs webhooks to addresses that came with jobs; JSON |
| stentor:callbacks:<owner>               | zset   | ids of implicit endpoints by when they were last used |
| stentor:endpoints:due                   | zset   | endpoint id -> when it may have a due delivery |
| stentor:endpoint:<id>                   | hash   | failures of an endpoint; expires |
| stentor:endpoint:<id>:due               | zset   | delivery id -> when its next attempt is due |
| stentor:endpoint:<id>:running           | zset   | delivery id -> when the lease of its dispatcher ends |
| stentor:endpoint:<id>:deliveries        | zset   | delivery id -> when it was created; expires |
| stentor:delivery:<id>                   | hash   | one event for one endpoint, and its attempts; expires |
| stentor:devices                         | set    | ids of all devices that ever reported |
| stentor:device:<id>                     | hash   | a device's last report |
| stentor:acts:<id>                       | string | the worker that has the device's lease, as JSON; expires |
| stentor:wanted:<id>                     | string | the residency that a device was ordered to have |
| stentor:override:<id>                   | hash   | a person's orders for a device; they override the policy |
| stentor:overridden                      | set    | ids of the devices with an override |
| stentor:ordered:<id>                    | string | a scheduler's last order to a device; expires |
| stentor:leader                          | string | the scheduler that acts for the cluster; expires |
| stentor:fence                           | string | the number of the latest leader; only grows |
| stentor:sweep:asked                     | string | a sweep was requested and has not begun; expires |
| stentor:sweep:lock                      | string | the process that sweeps; expires |
| stentor:sweep:state                     | hash   | where each sweep continues, and when sweeps began |
| stentor:owners                          | set    | all owners that may have data |
| stentor:held                            | set    | priorities that no device claims now; expires |
| stentor:wants                           | hash   | device id -> what the policy decided for it, as JSON; expires |
| stentor:wakes:<node>                    | list   | devices that work again after being idle, for their scheduler |
| stentor:clocks:<node>                   | hash   | GPU with low clocks -> since when, as JSON |
| stentor:keeper:<node>                   | hash   | device id -> the state of its clocks, as JSON; expires |
| stentor:billed                          | set    | ids of all devices that were ever billed |
| stentor:metered:<id>                    | hash   | a device's last charge and the end of its billed time; expires |
| stentor:bill:<id>:<day>                 | hash   | work and energy of a device on a day (since the epoch); expires |
| stentor:bill:<id>:<day>:slots           | hash   | the same for each ten minutes; expires sooner |
| stentor:outcomes                        | hash   | counts for the metrics: outcomes, their times, webhooks |
| stentor:budget:<id>                     | hash   | model -> the batch budget that a device has learned |
| stentor:cache:<fingerprint>             | hash   | where the audio of an equal job is; expires |
| stentor:cached                          | list   | fingerprints of rows of bulks in the cache; the oldest leave |
| stentor:events                          | stream | outcomes, ``{id, state}``, capped; requests wait on it |
| stentor:beat:<process>:<host>           | string | heartbeat of a process without a device; expires |
| stentor:celery:*                        |        | Celery's own: queues ``synthesis``, ``io``, one per device |
"""

from __future__ import annotations

#: Prefix of all keys of Celery's broker.
CELERY_PREFIX = "stentor:celery:"
CACHE_PREFIX = "stentor:cache:"
LANES = "stentor:lanes"
BACKLOG = "stentor:backlog"
CACHED = "stentor:cached"
#: Index of the jobs without an outcome. Claims do not change it, so that a claim costs the same at any depth.
OPEN = "open"
VOICES = "stentor:voices"
DELETED_RECORDINGS = "stentor:recording:deleted"
API_KEYS = "stentor:keys"
#: Prefix of all keys that the library `limits` writes.
LIMITS_PREFIX = "stentor:limits"
ACTIVE_BULKS = "stentor:active_bulks"
FEEDER = "stentor:feeder"
OUTBOX = "stentor:outbox"
DUE_ENDPOINTS = "stentor:endpoints:due"
DEVICES = "stentor:devices"
LEADER = "stentor:leader"
FENCE = "stentor:fence"
HELD = "stentor:held"
OVERRIDDEN = "stentor:overridden"
WANTS = "stentor:wants"
SWEEP_ASKED = "stentor:sweep:asked"
SWEEP_LOCK = "stentor:sweep:lock"
SWEEP_STATE = "stentor:sweep:state"
OWNERS = "stentor:owners"
BILLED = "stentor:billed"
OUTCOMES = "stentor:outcomes"
EVENTS = "stentor:events"
#: The one consumer group of every lane.
GROUP = "devices"
#: The one consumer group of the outbox.
COURIERS = "couriers"


def job(job_id: str) -> str:
    """Key of a job's hash."""
    return f"stentor:job:{job_id}"


def jobs(owner: str, index: str) -> str:
    """Key of an index of an owner's jobs: ``OPEN``, or a state except queued."""
    return f"stentor:jobs:{owner}:{index}"


def recordings(owner: str) -> str:
    """Key of an owner's uploaded voices."""
    return f"stentor:recordings:{owner}"


def recording_uses(recording_id: str) -> str:
    """Key of the jobs and bulks that still need an uploaded voice."""
    return f"stentor:recording:{recording_id}:uses"


def recordings_of(sha256: str) -> str:
    """Key of the uploaded voices whose audio is the same object in S3."""
    return f"stentor:recording:of:{sha256}"


def waiting(key_id: str) -> str:
    """Key of the number of waiting jobs of an API key."""
    return f"stentor:waiting:{key_id}"


def usage(key_id: str, day: int) -> str:
    """Key of the usage of an API key on a day, counted from the epoch."""
    return f"stentor:usage:{key_id}:{day}"


def users(owner: str) -> str:
    """Key of the ids of all API keys of an owner that were ever used."""
    return f"stentor:usage:{owner}"


def idempotency(owner: str, digest: str) -> str:
    """Key of a request that has an idempotency key."""
    return f"stentor:idempotency:{owner}:{digest}"


def bulk(bulk_id: str) -> str:
    """Key of a bulk's hash."""
    return f"stentor:bulk:{bulk_id}"


def open_chunks(bulk_id: str) -> str:
    """Key of a bulk's open chunks: their rows enter lanes, or have just left them."""
    return f"stentor:bulk:{bulk_id}:open"


def outcomes(bulk_id: str, chunk: int) -> str:
    """Key of the outcomes of an open chunk."""
    return f"stentor:bulk:{bulk_id}:outcomes:{chunk}"


def failures(bulk_id: str) -> str:
    """Key of the numbers of failed rows of a bulk's chunks."""
    return f"stentor:bulk:{bulk_id}:failures"


def redo(bulk_id: str) -> str:
    """Key of the chunks whose failed rows are to be retried."""
    return f"stentor:bulk:{bulk_id}:redo"


def bulk_lock(bulk_id: str, work: str) -> str:
    """Key of the lock for a kind of work on a whole bulk."""
    return f"stentor:bulk:{bulk_id}:lock:{work}"


def bulks(owner: str) -> str:
    """Key of the index of an owner's bulks."""
    return f"stentor:bulks:{owner}"


def webhooks(owner: str) -> str:
    """Key of an owner's webhook endpoints."""
    return f"stentor:webhooks:{owner}"


def signing(owner: str) -> str:
    """Key of the secret for an owner's webhooks to implicit endpoints."""
    return f"stentor:signing:{owner}"


def callbacks(owner: str) -> str:
    """Key of an owner's implicit endpoints."""
    return f"stentor:callbacks:{owner}"


def endpoint(endpoint_id: str) -> str:
    """Key of the state of a webhook endpoint."""
    return f"stentor:endpoint:{endpoint_id}"


def due(endpoint_id: str) -> str:
    """Key of an endpoint's waiting deliveries, by when they are due."""
    return f"{endpoint(endpoint_id)}:due"


def running(endpoint_id: str) -> str:
    """Key of an endpoint's deliveries that dispatchers hold."""
    return f"{endpoint(endpoint_id)}:running"


def deliveries(endpoint_id: str) -> str:
    """Key of the index of an endpoint's deliveries."""
    return f"{endpoint(endpoint_id)}:deliveries"


def delivery(delivery_id: str) -> str:
    """Key of a delivery's hash."""
    return f"stentor:delivery:{delivery_id}"


def device(device_id: str) -> str:
    """Key of a device's last report."""
    return f"stentor:device:{device_id}"


def wanted_residency(device_id: str) -> str:
    """Key of the residency that a device was ordered to have."""
    return f"stentor:wanted:{device_id}"


def override(device_id: str) -> str:
    """Key of a person's override for a device."""
    return f"stentor:override:{device_id}"


def last_order(device_id: str) -> str:
    """Key of a scheduler's last order to a device."""
    return f"stentor:ordered:{device_id}"


def acts(device_id: str) -> str:
    """Key of the lease of a device."""
    return f"stentor:acts:{device_id}"


def wakes(node: str) -> str:
    """Key of a machine's devices that work again after being idle."""
    return f"stentor:wakes:{node}"


def clocks(node: str) -> str:
    """Key of a machine's GPUs with low clocks."""
    return f"stentor:clocks:{node}"


def keeper(node: str) -> str:
    """Key of the state of the clocks of a machine's devices."""
    return f"stentor:keeper:{node}"


def meter(device_id: str) -> str:
    """Key of a device's last charge and the end of its billed time."""
    return f"stentor:metered:{device_id}"


def bill(device_id: str, day: int) -> str:
    """Key of a device's work and energy on a day, counted from the epoch."""
    return f"stentor:bill:{device_id}:{day}"


def bill_slots(device_id: str, day: int) -> str:
    """Key of the same for each ten minutes."""
    return f"{bill(device_id, day)}:slots"


def budgets(device_id: str) -> str:
    """Key of the batch budgets that a device has learned."""
    return f"stentor:budget:{device_id}"


def cache(fingerprint: str) -> str:
    """Key of the cached audio of equal jobs."""
    return f"{CACHE_PREFIX}{fingerprint}"


def beat(process: str, host: str) -> str:
    """Key of the heartbeat of a process without a device (``io``, ``scheduler``)."""
    return f"stentor:beat:{process}:{host}"


def queue(name: str) -> str:
    """Key of a Celery queue's list of messages."""
    return f"{CELERY_PREFIX}{name}"
