"""The Flask factory of the HTTP API. Importing this module has no effect; ``create_app`` reads the settings."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

from flask import Response, redirect
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from flask_openapi3_scalar.plugins import RegisterPlugin

from api import health
from api.bulks import files as bulk_files
from api.bulks import routes as bulks
from api.cost import routes as cost
from api.cost import usage
from api.devices import routes as devices
from api.http import answers, idempotency, limits, metrics, openapi, problems
from api.http.json_request import JsonRequest
from api.jobs import routes as jobs
from api.openai import errors as openai_errors
from api.openai import routes as openai
from api.services import Services
from api.voices import routes as voices
from api.waiting import waits
from api.webhooks import routes as webhooks
from api.webhooks import secret as webhook_secret
from stentor import log
from stentor.errors import RedisUnavailable
from stentor.settings import Settings

#: The page at `/docs` without anything that calls other servers: fonts, telemetry, chats, cloud clients.
SCALAR = {
    "telemetry": False,
    "withDefaultFonts": False,
    "showDeveloperTools": "never",
    "hideClientButton": True,
    "agent": {"disabled": True},
    "mcp": {"disabled": True},
    "authentication": {"preferredSecurityScheme": "key"},
    "metaData": {"title": "Stentor"},
}
#: Endpoints whose body is optional.
BODY_OPTIONAL = frozenset({"catalogue.unload_device", "catalogue.load_device"})
#: The browser enforces that the page calls no other server. Its script needs `eval` and inline styles.
PAGE_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"


#: Threads of a process where nothing else is said.
DEFAULT_THREADS = 64


def create_app(settings: Settings | None = None, *, threads: int = DEFAULT_THREADS) -> OpenAPI:
    """The API as a WSGI app, called by up to ``threads`` threads; without ``settings`` it reads the environment."""
    settings = settings or Settings.from_environ(os.environ)
    log.configure(settings, room="api")
    app = OpenAPI(
        "api",
        info=Info(
            title="Stentor",
            version=importlib.metadata.version("stentor"),
            description="Batch text-to-speech: submit texts, and fetch the audio when it is ready.",
        ),
        security_schemes={"key": {"type": "http", "scheme": "bearer"}},
        validation_error_callback=problems.from_pydantic,
        doc_ui=False,
    )
    app.request_class = JsonRequest
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["stentor"] = Services.connect(settings, threads=threads)
    if settings.api_metrics == "on":
        metrics.install(app)
    problems.install(app)
    openai_errors.install(app)
    limits.install(app)
    for room in (jobs, bulks, bulk_files, voices, openai, webhooks, webhook_secret, devices, health, usage, cost):
        app.register_api(room.blueprint)
    idempotency.install(app)
    waits.install(app)
    answers.install(app)
    _add_docs(app, settings)
    return app


def _restrict_page(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


def _add_docs(app: OpenAPI, settings: Settings) -> None:
    """Add `/openapi.json`, and a page at `/docs` that is rendered from it with files of this package only."""
    described = openapi.describe(app.api_doc, settings)
    app.config["SCALAR_CONFIG"] = SCALAR
    pages = RegisterPlugin.register(doc_url="../openapi.json")
    pages.after_request(_restrict_page)
    app.register_blueprint(pages, url_prefix="/docs")

    @app.route("/openapi.json")
    def openapi_json() -> dict[str, Any]:
        try:
            names = [voice.name for voice in app.extensions["stentor"].voices.all()]
        except RedisUnavailable:
            names = []
        return openapi.with_voices(described, names) if names else described

    @app.route("/docs")
    def docs() -> Response:
        return redirect("/docs/scalar")  # type: ignore[return-value]
