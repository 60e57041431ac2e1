"""Puts a bundle's files with boto3, as the review application does today. Reads commands from standard
input, `sequential PREFIX` or `threads PREFIX`, and prints the seconds that each took.

boto3_exporter.py FOLDER
"""

import os
import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

folder = pathlib.Path(sys.argv[1])
files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
contents = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files]
bucket = os.environ["S3_BUCKET_NAME"]
config = Config(max_pool_connections=16, s3={"addressing_style": "path"})
client = boto3.client("s3", config=config)
threads = ThreadPoolExecutor(16)


def put(prefix, name, body):
    client.put_object(Bucket=bucket, Key=prefix + name, Body=body)


for line in sys.stdin:
    mode, prefix = line.split()
    started = time.perf_counter()
    if mode == "sequential":
        for name, body in contents:
            put(prefix, name, body)
    else:
        for done in [threads.submit(put, prefix, name, body) for name, body in contents]:
            done.result()
    print(time.perf_counter() - started, flush=True)
