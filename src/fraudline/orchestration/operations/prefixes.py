"""The names directly below a prefix of S3."""

from __future__ import annotations

from fraudline.runtime import aws


def names(uri: str) -> list[str]:
    """Return the folders directly below an s3:// prefix, sorted, without reading what lies in them."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    folders = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
    return sorted(folder.removeprefix(prefix).rstrip("/") for folder in folders)
