"""Verifies the deliveries on stdin ({headers, body_base64, secret, public_key, verifies}) by PyPI's standardwebhooks,
and their ed25519 signatures by cryptography. Fails on the first surprise."""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for delivery in json.load(sys.stdin):
    body = base64.b64decode(delivery["body_base64"])
    headers = delivery["headers"]
    try:
        Webhook(delivery["secret"]).verify(body, headers)
        verified = True
    except (WebhookVerificationError, UnicodeDecodeError):
        if delivery["verifies"]:
            raise
        verified = False
    assert verified == delivery["verifies"], "standardwebhooks takes what it should refuse"
    print("standardwebhooks:", "verified" if verified else "refused")

    key = base64.b64decode(delivery["public_key"].removeprefix("whpk_"))
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signatures = [s[4:] for s in headers["webhook-signature"].split(" ") if s.startswith("v1a,")]
    assert signatures, "there is no v1a signature"
    for signature in signatures:
        Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(signature), message)
    print("cryptography ed25519: verified")
