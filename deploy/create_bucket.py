"""Create the bucket of DREAMLAYER_STORAGE_URL where it does not exist: python deploy/create_bucket.py."""

from __future__ import annotations

import sys
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from dreamlayer_site.environment import read_secret
from dreamlayer_site.service_urls import s3_options

DEFAULT_REGION = "us-east-1"
"""S3 refuses a LocationConstraint that names it."""


def main() -> None:
    options = s3_options(read_secret("DREAMLAYER_STORAGE_URL"))
    client = boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        region_name=options["region_name"],
        verify=options.get("verify"),
        aws_access_key_id=options.get("access_key"),
        aws_secret_access_key=options.get("secret_key"),
    )
    where = {"LocationConstraint": options["region_name"]}
    try:
        client.create_bucket(
            Bucket=options["bucket_name"],
            **({} if options["region_name"] == DEFAULT_REGION else {"CreateBucketConfiguration": where}),
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise


if __name__ == "__main__":
    main()
