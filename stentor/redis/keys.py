"""Every Redis key of Stentor, in one place.

| key                                     | type   | what it holds |
|-----------------------------------------|--------|---------------|
| stentor:job:<id>                        | hash   | a job; its fields are those of ``stentor.jobs.job.Job`` |
| stentor:jobs:<owner>:<index>            | zset   | ids at score 0: ``open`` (no outcome yet), or of a state |
| stentor:lane:<model>:<priority>:<class> | stream | waiting and claimed jobs as ``{job: id}``; one group |
| stentor:lanes                           | set    | keys of all lanes that ever held a job |
| stentor:backlog                         | hash   | lane -> what waits in it, noted by whatever changes that |
| stentor:voices                          | hash   | voice name -> the voice as JSON, registered by workers |
| stentor:recordings:<owner>              | hash   | name -> an uploaded voice as JSON |
| stentor:recording:<id>:uses             | set    | jobs and bulks without an outcome that speak with it |
| stentor:recording:deleted               | hash   | id -> a deleted voice as JSON; it goes when its last use is over |
| stentor:recording:of:<sha256>           | set    | ids of the uploaded voices that have the same audio in S3 |
| stentor:recording:of:<sha256>:lock      | string | that somebody stores or removes that audio just now; expires |
| stentor:keys                            | hash   | SHA-256 of an API key -> whose it is and what it may, as JSON |
| stentor:waiting:<key id>                | string | how many jobs of a key have no outcome |
| stentor:usage:<key id>:<day>            | hash   | what a key used on a day (since the epoch); expires |
| stentor:usage:<owner>                   | set    | ids of all keys that ever used something |
| stentor:idempotency:<owner>:<hash>      | hash   | a request and its answer; expires |
| stentor:limits:*                        |        | of the library `limits`: requests that a key has sent; expires |
| stentor:bulk:<id>                       | hash   | a bulk; its fields are those of ``stentor.bulks.bulk.Bulk`` |
| stentor:bulk:<id>:open                  | hash   | chunk -> how many of its rows were put into lanes |
| stentor:bulk:<id>:outcomes:<chunk>      | hash   | row -> its outcome as JSON; goes to S3 when the chunk is complete |
| stentor:bulk:<id>:failures              | hash   | chunk in S3 -> how many of its rows failed, if any |
| stentor:bulk:<id>:redo                  | set    | chunks in S3 whose failed rows are to be tried again |
| stentor:bulk:<id>:lock:<work>           | string | who packs the archive, or joins the groups; expires |
| stentor:bulks:<owner>                   | zset   | ids of the owner's bulks at score 0 |
| stentor:active_bulks                    | set    | ids of bulks that the feeder has something to do for |
| stentor:feeder                          | string | who puts rows of bulks into lanes; expires |
| stentor:webhooks:<owner>                | hash   | endpoint id -> the endpoint as JSON |
| stentor:outbox                          | stream | what is to be told: ``{type, id, owner}``; one group |
| stentor:signing:<owner>                 | string | signs webhooks to addresses that came with jobs; JSON |
| stentor:callbacks:<owner>               | zset   | ids of implicit endpoints by when they were last used |
| stentor:endpoints:due                   | zset   | endpoint id -> when there may be something to send to it |
| stentor:endpoint:<id>                   | hash   | how an endpoint fares; expires |
| stentor:endpoint:<id>:due               | zset   | delivery id -> when it is to be tried |
| stentor:endpoint:<id>:running           | zset   | delivery id -> when a courier that holds it is taken for dead |
| stentor:endpoint:<id>:deliveries        | zset   | delivery id -> when it was made; expires |
| stentor:delivery:<id>                   | hash   | one event for one endpoint, and how it went; expires |
| stentor:devices                         | set    | ids of all devices that ever reported |
| stentor:device:<id>                     | hash   | what a device reported last |
| stentor:acts:<id>                       | string | which worker acts for a device, as JSON; expires |
| stentor:wanted:<id>                     | string | the residency that was ordered for a device |
| stentor:override:<id>                   | hash   | what a person wants of a device, whatever the policy says |
| stentor:overridden                      | set    | ids of the devices of which a person wants something |
| stentor:ordered:<id>                    | string | the order that a scheduler gave to a device; expires |
| stentor:leader                          | string | which scheduler acts for the cluster; expires |
| stentor:fence                           | string | the latest leader's number, under which it acts; only grows |
| stentor:sweep:asked                     | string | that a sweep was asked for and has not begun; expires |
| stentor:sweep:lock                      | string | who sweeps; expires |
| stentor:sweep:state                     | hash   | where each sweep goes on, and since when there are sweeps |
| stentor:owners                          | set    | all owners of whom there may be something |
| stentor:held                            | set    | priorities that no device takes just now; expires |
| stentor:wants                           | hash   | device id -> what the policy wants of it, as JSON; expires |
| stentor:wakes:<node>                    | list   | devices that work after they were idle; their scheduler reads it |
| stentor:clocks:<node>                   | hash   | GPU -> that its clocks are low, and since when, as JSON |
| stentor:keeper:<node>                   | hash   | device id -> how its clocks are, as JSON; expires |
| stentor:billed                          | set    | ids of all devices that ever were billed |
| stentor:metered:<id>                    | hash   | the last charge of a device, up to where it is billed; expires |
| stentor:bill:<id>:<day>                 | hash   | what a device did and took on a day (since the epoch); expires |
| stentor:bill:<id>:<day>:slots           | hash   | the same by ten minutes; expires sooner |
| stentor:outcomes                        | hash   | counts for the metrics: of outcomes, of their times, of webhooks |
| stentor:budget:<id>                     | hash   | model -> the batch budget that a device has learned |
| stentor:cache:<fingerprint>             | hash   | where the audio of an equal job lies; expires |
| stentor:cached                          | list   | what rows of bulks left in the cache; the oldest go |
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
#: Index of the jobs that have no outcome. Claiming does not touch it, so that a claim costs the same at any depth.
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
    """Key of an index of an owner's jobs: ``OPEN``, or a state other than queued."""
    return f"stentor:jobs:{owner}:{index}"


def recordings(owner: str) -> str:
    """Key of an owner's uploaded voices."""
    return f"stentor:recordings:{owner}"


def recording_uses(recording_id: str) -> str:
    """Key of what still needs an uploaded voice."""
    return f"stentor:recording:{recording_id}:uses"


def recordings_of(sha256: str) -> str:
    """Key of the uploaded voices whose audio is the same object in S3."""
    return f"stentor:recording:of:{sha256}"


def waiting(key_id: str) -> str:
    """Key of the number of jobs of an API key that wait."""
    return f"stentor:waiting:{key_id}"


def usage(key_id: str, day: int) -> str:
    """Key of what an API key used on a day, counted from the epoch."""
    return f"stentor:usage:{key_id}:{day}"


def users(owner: str) -> str:
    """Key of the ids of all API keys that ever used something for an owner."""
    return f"stentor:usage:{owner}"


def idempotency(owner: str, digest: str) -> str:
    """Key of a request that came with an idempotency key."""
    return f"stentor:idempotency:{owner}:{digest}"


def bulk(bulk_id: str) -> str:
    """Key of a bulk's hash."""
    return f"stentor:bulk:{bulk_id}"


def open_chunks(bulk_id: str) -> str:
    """Key of the chunks of a bulk of which rows are in lanes or have just been."""
    return f"stentor:bulk:{bulk_id}:open"


def outcomes(bulk_id: str, chunk: int) -> str:
    """Key of the outcomes of an open chunk."""
    return f"stentor:bulk:{bulk_id}:outcomes:{chunk}"


def failures(bulk_id: str) -> str:
    """Key of how many rows failed in which chunk."""
    return f"stentor:bulk:{bulk_id}:failures"


def redo(bulk_id: str) -> str:
    """Key of the chunks of which failed rows are to be tried again."""
    return f"stentor:bulk:{bulk_id}:redo"


def bulk_lock(bulk_id: str, work: str) -> str:
    """Key of the lock of who does some work on a whole bulk."""
    return f"stentor:bulk:{bulk_id}:lock:{work}"


def bulks(owner: str) -> str:
    """Key of the index of an owner's bulks."""
    return f"stentor:bulks:{owner}"


def webhooks(owner: str) -> str:
    """Key of an owner's webhook endpoints."""
    return f"stentor:webhooks:{owner}"


def signing(owner: str) -> str:
    """Key of the secret of an owner's webhooks that have no endpoint of their own."""
    return f"stentor:signing:{owner}"


def callbacks(owner: str) -> str:
    """Key of an owner's implicit endpoints."""
    return f"stentor:callbacks:{owner}"


def endpoint(endpoint_id: str) -> str:
    """Key of how a webhook endpoint fares; what is to be sent to it is below this."""
    return f"stentor:endpoint:{endpoint_id}"


def due(endpoint_id: str) -> str:
    """Key of the deliveries of an endpoint that wait, by when they are due."""
    return f"{endpoint(endpoint_id)}:due"


def running(endpoint_id: str) -> str:
    """Key of the deliveries of an endpoint that couriers hold."""
    return f"{endpoint(endpoint_id)}:running"


def deliveries(endpoint_id: str) -> str:
    """Key of the index of an endpoint's deliveries."""
    return f"{endpoint(endpoint_id)}:deliveries"


def delivery(delivery_id: str) -> str:
    """Key of a delivery's hash."""
    return f"stentor:delivery:{delivery_id}"


def device(device_id: str) -> str:
    """Key of what a device reported last."""
    return f"stentor:device:{device_id}"


def wanted(device_id: str) -> str:
    """Key of the residency that was ordered for a device."""
    return f"stentor:wanted:{device_id}"


def override(device_id: str) -> str:
    """Key of what a person wants of a device."""
    return f"stentor:override:{device_id}"


def ordered(device_id: str) -> str:
    """Key of the order that a scheduler gave to a device."""
    return f"stentor:ordered:{device_id}"


def acts(device_id: str) -> str:
    """Key of which worker acts for a device."""
    return f"stentor:acts:{device_id}"


def wakes(node: str) -> str:
    """Key of the devices of a machine that work after they were idle."""
    return f"stentor:wakes:{node}"


def clocks(node: str) -> str:
    """Key of the GPUs of a machine whose clocks are low."""
    return f"stentor:clocks:{node}"


def keeper(node: str) -> str:
    """Key of how the clocks of a machine's devices are."""
    return f"stentor:keeper:{node}"


def metered(device_id: str) -> str:
    """Key of up to where a device is billed."""
    return f"stentor:metered:{device_id}"


def bill(device_id: str, day: int) -> str:
    """Key of what a device did and took on a day, counted from the epoch."""
    return f"stentor:bill:{device_id}:{day}"


def bill_slots(device_id: str, day: int) -> str:
    """Key of the same by ten minutes."""
    return f"{bill(device_id, day)}:slots"


def budgets(device_id: str) -> str:
    """Key of the batch budgets that a device has learned."""
    return f"stentor:budget:{device_id}"


def cache(fingerprint: str) -> str:
    """Key of what is known of the audio of equal jobs."""
    return f"{CACHE_PREFIX}{fingerprint}"


def beat(process: str, host: str) -> str:
    """Key of the heartbeat of a process without a device (``io``, ``scheduler``)."""
    return f"stentor:beat:{process}:{host}"


def queue(name: str) -> str:
    """Key of a Celery queue's list of messages."""
    return f"{CELERY_PREFIX}{name}"
