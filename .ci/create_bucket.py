"""Creates the bucket S3_BUCKET_NAME at AWS_ENDPOINT_URL, with the standard library only."""

import datetime
import hashlib
import hmac
import os
import urllib.request
from urllib.parse import urlparse


def sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


endpoint = os.environ["AWS_ENDPOINT_URL"]
path = "/" + os.environ["S3_BUCKET_NAME"]
region = os.environ["AWS_REGION"]
host = urlparse(endpoint).netloc
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
empty = hashlib.sha256(b"").hexdigest()
# Signature version 4 (Amazon S3 API Reference, "Authenticating Requests").
headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": now}
signed = ";".join(headers)
canonical = "\n".join(["PUT", path, "", *(f"{k}:{v}" for k, v in headers.items()), "", signed, empty])
scope = f"{now[:8]}/{region}/s3/aws4_request"
text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
for part in (now[:8], region, "s3", "aws4_request"):
    key = sign(key, part)
signature = sign(key, text).hex()
headers["authorization"] = (
    f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
    f"SignedHeaders={signed}, Signature={signature}"
)
urllib.request.urlopen(urllib.request.Request(endpoint + path, method="PUT", headers=headers), timeout=5)
