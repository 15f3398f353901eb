"""`/v1/webhooks/secret`: the secret that signs webhooks to the `webhook_url` of a job or bulk.

A reader of the secret can sign, so reading it needs the scope `submit`.
"""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint

from api.http.auth import authorize, owner
from api.http.schemas import NoQuery
from api.services import services
from api.webhooks.routes import TAGS
from api.webhooks.schemas import SecretOut
from stentor.owners.access import SUBMIT

blueprint = APIBlueprint(
    "webhook_secret", __name__, url_prefix="/v1/webhooks/secret", abp_tags=TAGS, abp_security=[{"key": []}]
)
blueprint.before_request(authorize(read=SUBMIT))


@blueprint.get("", responses={200: SecretOut})
def get_secret(query: NoQuery) -> dict[str, Any]:
    """Show the secret that signs webhooks to a `webhook_url`. It is created when it is first needed."""
    return SecretOut.of(services().webhooks.signing(owner())).model_dump(mode="json")


@blueprint.post("/rotate", responses={200: SecretOut})
def rotate_default_secret() -> dict[str, Any]:
    """Create a new secret. Both sign for one day."""
    return SecretOut.of(services().webhooks.rotate_signing(owner())).model_dump(mode="json")
