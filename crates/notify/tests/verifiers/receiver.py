"""A receiver that verifies requests with the official libraries of Standard Webhooks and Svix.

    receiver.py SECRET...

Prints its port. Answers 204 if both libraries accept the request with every secret, and refuse it when one byte is
changed; otherwise 400 with the reason.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import standardwebhooks
import svix.webhooks

SECRETS = sys.argv[1:]
LIBRARIES = (
    (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    (svix.webhooks.Webhook, svix.webhooks.WebhookVerificationError),
)


def problem(headers: dict[str, str], body: bytes) -> str | None:
    """Why a request is not valid."""
    for secret in SECRETS:
        for library, refused in LIBRARIES:
            name = library.__module__
            try:
                payload = library(secret).verify(body, headers)
            except refused as error:
                return f"{name}: {error}"
            if payload is not None and payload != json.loads(body):
                return f"{name}: another payload"
            for changed_headers, changed_body in (
                (headers, body.replace(b"1", b"2", 1)),
                (headers | {"webhook-id": "other"}, body),
            ):
                try:
                    library(secret).verify(changed_body, changed_headers)
                    return f"{name}: accepts a changed request"
                except refused:
                    pass
    return None


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = problem(headers, body)
        if found:
            print(found, file=sys.stderr)
        self.send_response(400 if found else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
