"""One transaction at a time: three Lambda functions that a state machine combines into the real-time path.

- ``realtime-features``: ``{"transaction": {…}}`` → ``{"features": [25 numbers or null], "contract": NAME}``
- ``realtime-score``: ``{"transaction": {…}, "features": […], "contract": NAME}`` →
  ``{"fraud_score": …, "risk_level": …, "model_version": …, "alerted": true or false}``
- ``realtime-history``: ``{"transaction": {…}}`` → ``{"appended": true or false}``

A transaction has the columns of raw data (docs/data.md) and passes the same rules. Its features see what came before
it; afterwards ``realtime-history`` adds it to the history, once. An alert has the deduplication id of the alert that
the daily run sends for the same transaction.

Errors have the names of ``aws_lambda``: InputRejected (do not retry) and StageFailed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fraudline.catalog import environment
from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.stages import SERVE
from fraudline.entrypoints import log
from fraudline.entrypoints.aws_lambda import Answer, InputRejected, Preparation, StageFailed
from fraudline.runtime import faults

if TYPE_CHECKING:
    import polars as pl

Event = Mapping[str, Any]
_log = logging.getLogger(__name__)

# A history older than this is refused: yesterday's should be there, and labels that arrived since are missing in it.
STALE_DAYS = 2


def features(event: Event, _context: object = None) -> Answer:
    """Return the features of one transaction, in the order of the contract.

    Raises:
        InputRejected: the event or its transaction is wrong, or the table holds no history of the contract and the day.
        StageFailed: another attempt may succeed, or the code has a defect.
    """
    return _answer(lambda: _features(event))


def append(event: Event, _context: object = None) -> Answer:
    """Add one transaction to the history, once."""
    return _answer(lambda: _append(event))


def score(event: Event, _context: object = None) -> Answer:
    """Return the champion's score of one transaction, and send an alert if it is above the threshold."""
    return _answer(lambda: _score(event))


# Each function runs in its own image and imports that image's libraries alone.


def _features(event: Event) -> Answer:
    from fraudline.catalog.contract import contract  # noqa: PLC0415
    from fraudline.features.history_table import HistoryTable  # noqa: PLC0415
    from fraudline.features.numpy_engine import features_of  # noqa: PLC0415

    table = parse_transaction(event)
    row = table.row(0, named=True)
    history = HistoryTable(environment.HISTORY.value())
    history.check_fresh(row["timestamp"].date(), STALE_DAYS)
    values = features_of(row, history.read(table), environment.FUNCTION_LABEL_DELAY.value())
    return {"features": list(values.values()), "contract": contract()}


def _append(event: Event) -> Answer:
    from fraudline.features.history_table import HistoryTable  # noqa: PLC0415

    history = HistoryTable(environment.HISTORY.value())
    return {"appended": history.append(parse_transaction(event))}


def _score(event: Event) -> Answer:
    import numpy as np  # noqa: PLC0415

    from fraudline.score import outbox, risk  # noqa: PLC0415
    from fraudline.score.alerts import alerts_of, message_of  # noqa: PLC0415
    from fraudline.score.filter_high_risk import ranked  # noqa: PLC0415

    table, model = parse_transaction(event), _champion()
    if event.get("contract") != model.manifest["contract"]:
        raise InputError(
            f"the features are of contract {event.get('contract')}, and model {model.version} expects "
            f"{model.manifest['contract']}; deploy features and model of the same version"
        )
    rows = np.array([event["features"]], np.float32)
    scores = risk.score(model, table.get_column("transaction_id"), rows)
    threshold, urgent_loss = environment.FUNCTION_THRESHOLD.value(), environment.FUNCTION_URGENT_LOSS.value()
    high_risk = ranked(scores.join(table, on="transaction_id"), threshold, urgent_loss)
    topic, day = environment.TOPIC.value(), table.get_column("timestamp").dt.date().item()
    if topic:
        for alert in alerts_of(high_risk, day):
            outbox.send(topic, message_of(alert, day), day)
    scored = scores.row(0, named=True)
    return {
        "fraud_score": scored["fraud_score"],
        "risk_level": scored["risk_level"],
        "model_version": model.version,
        "alerted": bool(topic and high_risk.height),
    }


def _champion() -> Any:
    """Return the champion; load it where the pointer has changed since the last call."""
    from fraudline.catalog.stage import POINTER_FILE  # noqa: PLC0415
    from fraudline.runtime import s3  # noqa: PLC0415

    uri = environment.CHAMPION.value()
    return _load(uri, s3.read(uri, POINTER_FILE) or "")


@lru_cache(maxsize=1)  # one champion stays in memory; earlier ones need not
def _load(uri: str, _pointer: str) -> Any:
    from fraudline.model.model import load  # noqa: PLC0415
    from fraudline.runtime.channels import Channels  # noqa: PLC0415

    with Channels(SERVE, {"model": uri}, {}) as channels:
        return load(channels)


def parse_transaction(event: Event) -> pl.DataFrame:
    """Return an event's transaction as a table of one row, schema TRANSACTIONS, valid by the rules of a batch.

    Raises:
        InputError: there is no transaction, or a rule rejects it.
    """
    import polars as pl  # noqa: PLC0415

    from fraudline.etl.raw import read_one  # noqa: PLC0415
    from fraudline.etl.validation import validate  # noqa: PLC0415

    transaction = event.get("transaction") if isinstance(event, Mapping) else None
    if not isinstance(transaction, Mapping):
        raise InputError('the event must be {"transaction": {…}}, with the columns of raw data')
    validated = validate(read_one(transaction), repeated=pl.lit(False))
    rejected = validated.rejected.collect()
    if rejected.height:
        raise InputError(f"the transaction is rejected: {', '.join(rejected.get_column('reasons').item())}")
    return validated.valid.collect()


def _answer(work: Callable[[], Answer]) -> Answer:
    """Return an answer, or raise an error without a customer's data, under a name that state machines match."""
    log.set_up("json")  # the runtime interface configures logging in its own way before
    try:
        return work()
    except Exception as error:
        explained = error if isinstance(error, InputError | TemporaryError) else faults.explain(error, {})
        if explained is None:
            _log.exception("the function failed")
            raise StageFailed(f"{log.describe(error)}; the log has the stack") from None
        _log.error("%s", explained)
        if isinstance(explained, InputError):
            raise InputRejected(str(explained)) from None
        raise StageFailed(str(explained)) from None


FUNCTIONS: Mapping[str, Callable[..., Answer]] = {
    "realtime-features": features,
    "realtime-score": score,
    "realtime-history": append,
}

# Everything that a first event would otherwise wait for. The names are repeated, because each function runs in its own
# image and imports that image's libraries alone.
_PARSING = ("polars", "fraudline.etl.raw", "fraudline.etl.validation")
PREPARATIONS: Mapping[str, Preparation] = {
    "realtime-features": Preparation(
        (
            *_PARSING,
            "fraudline.catalog.contract",
            "fraudline.features.history_table",
            "fraudline.features.numpy_engine",
            "numpy.ma",  # which NumPy itself imports at the first use
        ),
        ("dynamodb",),
    ),
    "realtime-score": Preparation(
        (
            *_PARSING,
            "fraudline.score.outbox",
            "fraudline.score.risk",
            "fraudline.score.alerts",
            "fraudline.score.filter_high_risk",
            "fraudline.model.model",
            "fraudline.runtime.channels",
            "fraudline.runtime.s3",
        ),
        ("s3", "sns"),
    ),
    "realtime-history": Preparation((*_PARSING, "fraudline.features.history_table"), ("dynamodb",)),
}
