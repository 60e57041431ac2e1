"""Runs the built service with exactly the rights of deploy/cloudformation/roles.yaml.

Run by .ci/real-s3 minio, whose server enforces them: the role's statements become the session policy of temporary
credentials (AssumeRole). All operations of the service in S3 must work with them, and deletions must fail.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import boto3
from botocore.exceptions import ClientError
from cfnlint.decode import cfn_yaml

BUCKET = os.environ["S3_BUCKET_NAME"]
BASE_PATH = "tara/"
SOURCES = BUCKET + "-sources"
# The template's conditions in this run; missing ones are false.
CONDITIONS = {"HasSources": True}
BINARY = "target/debug/tara-export"
# Rights to features that MinIO does not have. It refuses a policy with a right that it does not know.
UNKNOWN_RIGHTS = ["s3:GetIntelligentTieringConfiguration"]


def resolve(value):
    """Returns the template's value for this bucket and its sources, without KMS keys and without deletion."""
    match value:
        case {"Fn::Sub": text}:
            names = {"AWS::Partition": "aws", "BucketName": BUCKET, "BasePath": BASE_PATH}
            return re.sub(r"\$\{([^}]+)\}", lambda name: names[name[1]], text)
        case {"Fn::If": [condition, then, otherwise]}:
            return resolve(then if CONDITIONS.get(condition) else otherwise)
        case {"Ref": "SourceObjectArns"}:
            return [f"arn:aws:s3:::{SOURCES}/reports/*"]
        case {"Ref": "AWS::NoValue"}:
            return None
        case dict():
            return {str(key): resolve(inner) for key, inner in value.items()}
        case list():
            return [inner for inner in map(resolve, value) if inner is not None and inner not in UNKNOWN_RIGHTS]
        case _:
            return str(value)


def policy() -> str:
    template = cfn_yaml.load("deploy/cloudformation/roles.yaml")
    role = template["Resources"]["ServiceRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    return json.dumps(resolve(role))


def is_refused(call, **arguments) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] == "AccessDenied"
    return False


place = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region_name": os.environ["AWS_REGION"]}
admin = boto3.client("s3", **place)
admin.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
# Documents that requests name, inside and outside of the prefix that the role may read.
admin.create_bucket(Bucket=SOURCES)
for key in ("reports/before.docx", "private/before.docx"):
    admin.put_object(Bucket=SOURCES, Key=key, Body=os.urandom(6 * 1024 * 1024))
sts = boto3.client("sts", **place)
role = {"RoleArn": "arn:aws:iam::000000000000:role/tara-export", "RoleSessionName": "tara-export"}
credentials = sts.assume_role(**role, Policy=policy())["Credentials"]
limited = {
    "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
    "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
    "AWS_SESSION_TOKEN": credentials["SessionToken"],
}

with tempfile.TemporaryDirectory() as folder:
    settings = {
        "S3_BASE_PATH": BASE_PATH,
        "DATA_DIR": f"{folder}/data",
        "JOURNAL": "store",
        # More than the role may read, because this tests the role.
        "S3_SOURCES": f"s3://{SOURCES}/",
    }
    environment = {**os.environ, **limited, **settings}

    def attempt(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True)

    def run(*arguments: str) -> str:
        done = attempt(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def request_naming(key: str) -> str:
        """Writes a request whose document is this object, and returns its path."""
        request = json.loads(pathlib.Path("examples/request.json").read_text())
        request.pop("requestId", request.pop("request_id", None))
        request["documents"] = [{"kind": "KIND_BEFORE", "s3": {"uri": f"s3://{SOURCES}/{key}"}}]
        path = pathlib.Path(folder, "request.json")
        path.write_text(json.dumps(request))
        return str(path)

    rows = run("check")
    assert not re.search("(?m)^✗", rows), rows
    # Large enough for a multipart upload and a copy inside S3.
    review = pathlib.Path(folder, "review")
    subprocess.run(["cp", "-r", "examples/sample-review", review], check=True)
    review.joinpath("before.docx").write_bytes(os.urandom(20 * 1024 * 1024))
    exported = run("export", str(review))
    assert f"s3://{BUCKET}/" in exported, exported
    name = re.search(r"exports/[0-9a-f-]{36}", exported)[0]
    assert name in run("list")
    assert run("report", name).startswith("DOCUMENT REVIEW REPORT")
    run("download", name, "--output", f"{folder}/bundle.zip")
    run("link", name, "readable_report.txt")
    assert f"s3://{BUCKET}/" in run("export", request_naming("reports/before.docx"))
    refused = attempt("export", request_naming("private/before.docx"))
    assert refused.returncode == 1 and "reports" not in refused.stderr, refused

    session = boto3.client(
        "s3",
        **place,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    keys = [entry["Key"] for entry in session.list_objects_v2(Bucket=BUCKET, Prefix=BASE_PATH)["Contents"]]
    assert any(key.endswith("/manifest.json") for key in keys), keys
    kept = [key for key in keys if "/.tara-export/journal/" in key]
    assert kept, "the journal entry must stay until the lifecycle rule removes it"
    for key in keys:
        assert is_refused(session.delete_object, Bucket=BUCKET, Key=key), f"{key} could be deleted"
    assert is_refused(session.put_object, Bucket=BUCKET, Key="elsewhere", Body=b""), "a put outside of the base path succeeded"
    print(f"the role is sufficient for the service, and cannot delete any of its {len(keys)} objects")
