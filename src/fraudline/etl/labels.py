"""Read fraud labels, and join those that were known by as_of with their transactions."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from io import BufferedReader

import polars as pl

from fraudline.catalog.days import day_number, midnight
from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import Schema
from fraudline.etl import values
from fraudline.etl.files import PARSE_ERRORS, PATTERNS, Batch, Delivery, File, find_files, group_files
from fraudline.etl.rules import LABEL_RULES, is_broken, reasons
from fraudline.runtime.channels import Channels

_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)
_COLUMNS = {"transaction_id": True, "is_fraud": True, "labeled_at": False}  # True: required
_READ: Schema = {
    "transaction_id": pl.String,
    "is_fraud": pl.Int64,
    "labeled_at": pl.Datetime("us", "UTC"),
    "unreadable_labeled_at": pl.Boolean,
    "unreadable_file": pl.Boolean,
}
_log = logging.getLogger(__name__)


def read_labels(channels: Channels) -> Delivery:
    """Read all labels.

    Returns:
        The columns transaction_id, is_fraud, labeled_at (null if unknown), unreadable_labeled_at and unreadable_file.

    Raises:
        InputError: no file can be read as labels.
    """
    folder = channels.folder("labels")
    files = find_files(folder, "labels", folder)
    if not files:
        raise no_labels_error(channels)
    try:
        return _read(files)
    except InputError:
        delivery, errors = _read_separately(files)
        if len(errors) == len(files):
            raise next(iter(errors.values())) from None
        return delivery


def read_files(files: Sequence[File]) -> Delivery:
    """Read the labels of files, with the columns of ``read_labels``; a file that can't be read becomes one such row.

    One label file is one analyst's answer, or one of many deliveries: the others must not wait until it is corrected.
    """
    try:
        return _read(files)
    except InputError:
        return _read_separately(files)[0]


def unreadable_file(name: str) -> dict[str, object]:
    """Return the row that stands for a file that can't be read as labels, with the columns of ``read_labels``.

    Its transaction_id is the file's name, so that the rejected rows name the file. It has no other reason.
    """
    return {
        "transaction_id": name,
        "is_fraud": 0,
        "labeled_at": None,
        "unreadable_labeled_at": False,
        "unreadable_file": True,
    }


def warn_unreadable(error: InputError) -> None:
    """Log why a label file is left out."""
    _log.warning("%s; its labels are left out until then", error)


def no_labels_error(channels: Channels) -> InputError:
    """Return the error to raise if the channel has no label files."""
    return InputError(
        f"channel 'labels': no {PATTERNS} in '{channels.location('labels')}'; check the job that delivers labels"
    )


def broken_labels(labels: pl.LazyFrame) -> pl.LazyFrame:
    """Return the labels that break a rule, with all their ``reasons``."""
    return labels.filter(is_broken(LABEL_RULES)).with_columns(reasons(LABEL_RULES))


def latest_labels(labels: pl.LazyFrame, repeated: pl.Expr, as_of: date) -> pl.LazyFrame:
    """Return one valid label per id: the latest before as_of; among simultaneous labels, fraud wins.

    Args:
        labels: the columns of ``read_labels``, with all labels of each id.
        repeated: the ``repeated_ids`` of these labels, or of a superset.
        as_of: labels from this day's midnight on are not visible.
    """
    visible = pl.col("labeled_at").is_null() | (pl.col("labeled_at") < midnight(as_of))
    valid = labels.filter(~is_broken(LABEL_RULES), visible).select(
        "transaction_id", pl.col("is_fraud").cast(pl.Int8), "labeled_at"
    )
    # Labels without a time come first, so that a later one with a time replaces them.
    candidates = valid.filter(repeated).collect(engine="streaming").sort("labeled_at", "is_fraud", nulls_last=False)
    latest = candidates.unique("transaction_id", keep="last", maintain_order=True)
    return pl.concat([valid.filter(~repeated), latest.lazy()])


def join_labels(transactions: pl.DataFrame, labels: pl.DataFrame, as_of: date, delay: int) -> pl.DataFrame:
    """Add ``is_fraud`` and ``known_day``, null unless the label was known before as_of, and ``has_label``.

    A label without ``labeled_at`` becomes known when ``delay`` whole days have passed after its transaction's day.
    ``has_label`` is True if ``labels`` has the id, whether or not the label was known.

    Args:
        transactions: rows with ``transaction_id`` and ``timestamp``.
        labels: one row per id, from ``latest_labels``.
        as_of: only labels from earlier days are known.
        delay: the label delay in days.
    """
    known_day = pl.coalesce(pl.col("labeled_at").dt.epoch("d").cast(pl.Int32), _DAY + delay)
    known = known_day < day_number(as_of)
    has_label = pl.col("is_fraud").is_not_null()
    return transactions.join(labels, on="transaction_id", how="left", maintain_order="left").with_columns(
        has_label.alias("has_label"),
        pl.when(known & has_label).then(known_day).alias("known_day"),
        pl.when(known).then(pl.col("is_fraud")).alias("is_fraud"),
    )


def _read(files: Sequence[File]) -> Delivery:
    """Read the labels of files.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    quoted = [file for file in files if _is_quoted(file)]
    batches = group_files([file for file in files if file not in quoted], _COLUMNS)
    tables = [_read_batch(batch) for batch in batches]
    for batch in batches:
        # A file with intact columns may be broken elsewhere.
        try:
            batch.scan().select(pl.all().count()).collect(engine="streaming")
        except PARSE_ERRORS as error:
            raise batch.files[0].parse_error(error) from error
    texts = [row for file in quoted for row in _read_quoted(file)]
    if texts:
        schema = pl.Schema(dict.fromkeys(_COLUMNS, pl.String))
        tables.append(_labels(pl.LazyFrame(texts, schema=schema), schema))
    return Delivery(pl.concat(tables), batches)


def _read_separately(files: Sequence[File]) -> tuple[Delivery, dict[str, InputError]]:
    """Return the labels of the readable files and a row for each other file; and the errors by the file's name."""
    errors = {file.name: error for file in files if (error := _error(file))}
    for error in errors.values():
        warn_unreadable(error)
    rows = pl.LazyFrame([unreadable_file(name) for name in errors], schema=_READ)
    readable = [file for file in files if file.name not in errors]
    if not readable:
        return Delivery(rows, []), errors
    delivery = _read(readable)
    return Delivery(pl.concat([delivery.rows, rows]), delivery.batches), errors


def _error(file: File) -> InputError | None:
    try:
        _read([file])
    except InputError as error:
        return error
    return None


def _is_quoted(file: File) -> bool:
    """Return True for JSON lines in which each object is a JSON string.

    Step Functions encodes a text that it puts into S3 as JSON, which adds quotes and backslashes to a label.
    """
    if file.format != "JSON lines":
        return False
    try:
        with _open(file) as lines:
            return lines.read(64).lstrip()[:1] == b'"'
    except (OSError, EOFError):
        return False  # the reader of JSON lines reports it


def _read_quoted(file: File) -> list[dict[str, str | None]]:
    """Return the labels of a file of quoted objects, each value as text.

    Raises:
        InputError: a line is no object, quoted or not.
    """
    try:
        with _open(file) as lines:
            values = [json.loads(line) for line in lines.read().decode().splitlines() if line.strip()]
        labels = [json.loads(value) if isinstance(value, str) else value for value in values]
        return [{column: _text(label.get(column)) for column in _COLUMNS} for label in labels]
    except (AttributeError, OSError, EOFError, ValueError) as error:
        raise file.parse_error(error) from error


def _open(file: File) -> gzip.GzipFile | BufferedReader:
    return gzip.open(file.path) if file.path.suffix == ".gz" else file.path.open("rb")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _read_batch(batch: Batch) -> pl.LazyFrame:
    _check_columns(batch)
    return _labels(batch.scan(), batch.schema)


def _labels(table: pl.LazyFrame, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    flag, time = schema["is_fraud"], schema.get("labeled_at")
    labeled_at, unreadable = pl.lit(None, pl.Datetime("us", "UTC")), pl.lit(False)
    if time:
        labeled_at = values.instant(pl.col("labeled_at"), time)
        unreadable = pl.col("labeled_at").is_not_null() & labeled_at.is_null()
    return table.select(
        pl.col("transaction_id").cast(pl.String),
        values.flag(pl.col("is_fraud"), flag).alias("is_fraud"),
        labeled_at.alias("labeled_at"),
        unreadable.alias("unreadable_labeled_at"),
        pl.lit(False).alias("unreadable_file"),
    )


def _check_columns(batch: Batch) -> None:
    schema, where = batch.schema, batch.files[0].where
    for column in (name for name, required in _COLUMNS.items() if required):
        if column not in schema:
            raise InputError(
                f"{where} has no column '{column}'; it has {', '.join(schema)}; rename the column that holds it"
            )
    if batch.is_text:
        return
    flag, time = schema["is_fraud"], schema.get("labeled_at")
    if not (flag.is_integer() or isinstance(flag, pl.Boolean)):
        raise InputError(f"{where}: column 'is_fraud' must be 0 or 1, got {flag}; write it as 0 or 1")
    if not (time is None or isinstance(time, pl.Datetime)):
        raise InputError(f"{where}: column 'labeled_at' must be a timestamp, got {time}; write it as a timestamp")
