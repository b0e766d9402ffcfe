"""List, read, download, upload and delete objects below s3:// prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fraudline.runtime import aws


def is_uri(location: str) -> bool:
    """Return True for an s3:// prefix, False for a folder."""
    return location.startswith("s3://")


def list_objects(uri: str) -> list[str]:
    """Return the s3:// URI of every object below a prefix, in the order of their keys."""
    bucket, _ = _split(uri)
    return [f"s3://{bucket}/{key}" for key in _keys(uri)]


def exists(uri: str) -> bool:
    """Return True if there is any object below a prefix."""
    return next(_keys(uri), None) is not None


def fetch(uri: str, folder: Path, only: Iterable[str] | None = None) -> None:
    """Download the objects below a prefix, or below the named parts of it, into a folder."""
    bucket, prefix = _split(uri)
    for part in only if only is not None else [""]:
        for key in _keys(f"s3://{bucket}/{prefix}{part}"):
            path = folder / key.removeprefix(prefix)
            if not path.exists():
                download(f"s3://{bucket}/{key}", path)


def download(uri: str, path: Path) -> None:
    """Download one object."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    _client().download_file(bucket, key, str(path))


def read(uri: str, name: str) -> str | None:
    """Return the text of an object below a prefix, or None if it does not exist."""
    bucket, prefix = _split(uri)
    try:
        body: bytes = _client().get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
    except _client().exceptions.NoSuchKey:
        return None
    return body.decode()


def write(uri: str, name: str, text: str) -> None:
    """Write the text of one object below a prefix."""
    bucket, prefix = _split(uri)
    _client().put_object(Bucket=bucket, Key=prefix + name, Body=text.encode())


def upload(folder: Path, uri: str, order: Callable[[str], Any]) -> None:
    """Upload all files of a folder to a prefix, in the order of ``order`` applied to their names."""
    bucket, _ = _split(uri)
    for key, path in sorted(_objects(folder, uri).items(), key=lambda item: order(item[1].name)):
        _client().upload_file(str(path), bucket, key)


def prune(folder: Path, uri: str) -> None:
    """Delete the objects below a prefix that have no file in a folder."""
    bucket, _ = _split(uri)
    for key in set(_keys(uri)) - set(_objects(folder, uri)):
        _client().delete_object(Bucket=bucket, Key=key)


def pop(uri: str, name: str) -> str | None:
    """Return the text of one object below a prefix and delete it, or None if it does not exist."""
    bucket, prefix = _split(uri)
    key = prefix + name
    # A listing, because S3 may refuse to read a key that does not exist as if it were forbidden.
    listed = _client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    if not listed or listed[0]["Key"] != key:
        return None
    text = read(uri, name)
    _client().delete_object(Bucket=bucket, Key=key)
    return text


def _objects(folder: Path, uri: str) -> dict[str, Path]:
    """Return the files of a folder by the keys that they get below a prefix."""
    _, prefix = _split(uri)
    return {prefix + path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _keys(uri: str) -> Iterator[str]:
    bucket, prefix = _split(uri)
    for page in _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):  # the AWS console creates these empty objects for folders
                yield item["Key"]


def _split(uri: str) -> tuple[str, str]:
    """Return the bucket and the prefix of a URI; the prefix ends with one slash, or is empty for the whole bucket."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, prefix.rstrip("/") + "/" if prefix else ""


def _client() -> Any:
    return aws.client("s3")
