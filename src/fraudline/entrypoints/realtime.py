"""One transaction at a time: three Lambda functions, of which a state machine makes the real-time path.

- ``realtime-features``: ``{"transaction": {…}}`` → ``{"features": [25 numbers or null], "contract": NAME}``
- ``realtime-score``: ``{"transaction": {…}, "features": […], "contract": NAME}`` →
  ``{"fraud_score": …, "risk_level": …, "model_version": …, "alerted": true or false}``
- ``realtime-history``: ``{"transaction": {…}}`` → ``{"appended": true or false}``

A transaction has the columns of raw data (docs/data.md), and is read and judged by their rules. Features see what came
before it; only then does ``realtime-history`` let later ones see it, once. An alert carries the deduplication id that
the daily run's alert of the same transaction has.

Errors have the names of ``aws_lambda``: InputRejected, which to try again can't mend, and StageFailed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import log
from fraudline.entrypoints.aws_lambda import Answer, InputRejected, StageFailed
from fraudline.runtime import faults

if TYPE_CHECKING:
    import polars as pl

Event = Mapping[str, Any]
_log = logging.getLogger(__name__)

# The variables of a function's environment.
HISTORY = "FRAUDLINE_HISTORY"  # dynamodb://TABLE
CHAMPION = "FRAUDLINE_CHAMPION"  # s3://…/champion/
TOPIC = "FRAUDLINE_TOPIC"  # ARN of the topic for alerts; none are sent where it is not set
# Parameters of the stages that do the same for a day, with their defaults.
SETTINGS = {
    f"FRAUDLINE_{name.upper()}": parameter
    for stage, name in (
        ("feature-extraction", "label_delay_days"),
        ("filter-high-risk", "threshold"),
        ("filter-high-risk", "urgent_loss"),
    )
    for parameter in STAGES[stage].parameters
    if parameter.name == name
}
# Later than this the history of yesterday should have been published; labels that came since are not known.
STALE_DAYS = 2


def features(event: Event, _context: object = None) -> Answer:
    """The features of one transaction from the history table, in the order of the contract.

    Raises:
        InputRejected: the event or its transaction is wrong, or the table holds no history of the contract and the day.
        StageFailed: the same again may do, or it is a fault of ours.
    """
    from fraudline.catalog.contract import contract  # noqa: PLC0415 - each function imports its own image's libraries alone
    from fraudline.features.history_table import HistoryTable  # noqa: PLC0415
    from fraudline.features.numpy_engine import features_of  # noqa: PLC0415

    def run() -> Answer:
        table = transaction_of(event)
        row = table.row(0, named=True)
        history = HistoryTable(_told(HISTORY))
        history.check_fresh(row["timestamp"].date(), STALE_DAYS)
        values = features_of(row, history.read(table), _setting("label_delay_days"))
        return {"features": list(values.values()), "contract": contract()}

    return _answered(run)


def append(event: Event, _context: object = None) -> Answer:
    """Let later transactions of the customer see this one, once."""
    from fraudline.features.history_table import HistoryTable  # noqa: PLC0415

    return _answered(lambda: {"appended": HistoryTable(_told(HISTORY)).append(transaction_of(event))})


def score(event: Event, _context: object = None) -> Answer:
    """The champion's score of one transaction's features, and an alert if it is above the threshold."""
    return _answered(lambda: _score(event))


def _score(event: Event) -> Answer:
    import numpy as np  # noqa: PLC0415

    from fraudline.score import outbox, risk  # noqa: PLC0415
    from fraudline.score.alerts import alerts_of, message_of  # noqa: PLC0415
    from fraudline.score.filter_high_risk import ranked  # noqa: PLC0415

    table, model = transaction_of(event), _champion()
    if event.get("contract") != model.manifest["contract"]:
        raise InputError(
            f"the features are of contract {event.get('contract')}, and model {model.version} expects "
            f"{model.manifest['contract']}; deploy features and model of the same version"
        )
    rows = np.array([event["features"]], np.float32)
    scores = risk.score(model, table.get_column("transaction_id"), rows)
    high_risk = ranked(scores.join(table, on="transaction_id"), _setting("threshold"), _setting("urgent_loss"))
    topic, day = os.environ.get(TOPIC, ""), table.get_column("timestamp").dt.date().item()
    for alert in alerts_of(high_risk, day) if topic else ():
        outbox.send(topic, message_of(alert, day), day)
    scored = scores.row(0, named=True)
    return {
        "fraud_score": scored["fraud_score"],
        "risk_level": scored["risk_level"],
        "model_version": model.version,
        "alerted": bool(topic and high_risk.height),
    }


def _champion() -> Any:
    """The champion, loaded anew where the pointer has moved."""
    from fraudline.catalog.stage import POINTER_FILE  # noqa: PLC0415
    from fraudline.runtime import s3  # noqa: PLC0415

    place = _told(CHAMPION)
    return _loaded(place, s3.read(place, POINTER_FILE) or "")


@lru_cache(maxsize=1)  # one champion is kept, not all that ever were
def _loaded(place: str, _pointer: str) -> Any:
    from fraudline.model.model import load  # noqa: PLC0415
    from fraudline.runtime.channels import Channels  # noqa: PLC0415

    with Channels(STAGES["serve"], {"model": place}, {}) as channels:
        return load(channels)


def transaction_of(event: Event) -> pl.DataFrame:
    """The event's transaction, schema TRANSACTIONS, read and judged as a batch reads and judges its rows."""
    import polars as pl  # noqa: PLC0415

    from fraudline.etl.raw import read_one  # noqa: PLC0415
    from fraudline.etl.validation import validate  # noqa: PLC0415

    given = event.get("transaction") if isinstance(event, Mapping) else None
    if not isinstance(given, Mapping):
        raise InputError('the event must be {"transaction": {…}}, with the columns of raw data')
    validated = validate(read_one(given), repeated=pl.lit(False))
    rejected = validated.rejected.collect()
    if rejected.height:
        raise InputError(f"the transaction is rejected: {', '.join(rejected.get_column('reasons').item())}")
    return validated.valid.collect()


def _answered(work: Callable[[], Answer]) -> Answer:
    """An answer, or an error in words that hold nobody's data, under a name that a state machine knows."""
    log.set_up()  # the runtime interface has its own way of logging
    try:
        return work()
    except Exception as error:
        known = error if isinstance(error, InputError | TemporaryError) else faults.explain(error, {})
        if known is None:
            _log.exception("the function failed")
            raise StageFailed(f"{log.described(error)}; the log has the stack") from None
        _log.error("%s", known)
        raise (InputRejected if isinstance(known, InputError) else StageFailed)(str(known)) from None


def _setting(name: str) -> Any:
    variable = f"FRAUDLINE_{name.upper()}"
    return SETTINGS[variable].type(os.environ[variable]) if variable in os.environ else SETTINGS[variable].default


def _told(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise RuntimeError(f"the function's environment has no {name}")
    return value


FUNCTIONS: Mapping[str, Callable[..., Answer]] = {
    "realtime-features": features,
    "realtime-score": score,
    "realtime-history": append,
}
