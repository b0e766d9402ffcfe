"""How long a forest grows: until it no longer gets better, or is told to stop; checkpoints let it go on elsewhere."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xgboost

from fraudline.model.feature_table import FeatureTable

_log = logging.getLogger(__name__)

PATIENCE = 40  # trees without a better score on the rows that are watched
CHECKPOINT_TREES = 50
_FILE = "growing.ubj"


class Checkpoint:
    """The trees grown so far, in a folder that outlives the machine (SageMaker copies it to S3 as it changes).

    Args:
        folder: None where there is none: nothing is kept then.
        origin: of what the trees come; others are not gone on from.
    """

    def __init__(self, folder: Path | None, origin: str) -> None:
        self._path, self._origin = folder and folder / _FILE, origin

    def load(self) -> xgboost.Booster | None:
        """The trees to go on from, or None."""
        if self._path is None or not self._path.is_file() or not self._path.stat().st_size:
            return None
        booster = xgboost.Booster(model_file=self._path)
        if booster.attr("origin") != self._origin:
            _log.info("the checkpoint is of other rows or parameters: growing anew")
            return None
        _log.info("going on from %d trees", booster.num_boosted_rounds())
        return booster

    def save(self, booster: xgboost.Booster) -> None:
        """Keep the trees; the file takes its place whole."""
        if self._path is not None:
            booster.set_attr(origin=self._origin)
            partial = self._path.with_suffix(".partial.ubj")
            booster.save_model(partial)
            partial.replace(self._path)

    def clear(self) -> None:
        """Forget the trees: a later training of the same must grow the same, from the start."""
        if self._path is not None and self._path.exists():
            self._path.write_bytes(b"")  # what is deleted here may stay in S3


def origin(rows: FeatureTable, watched: FeatureTable, parameters: Mapping[str, Any]) -> str:
    """A hash of all that decides how a forest grows."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for table in (rows, watched):
        for values in (table.values, table.labels, table.weights):
            digest.update(values.tobytes())
    return digest.hexdigest()


class Growth(xgboost.callback.TrainingCallback):
    """Ends the growth once the score on the watched rows has not risen for long, or SIGTERM asks for it.

    The best score and the number of trees that had it go with the trees into a checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, before: xgboost.Booster | None) -> None:
        self._checkpoint = checkpoint
        self.told = False
        self.best_score = float((before and before.attr("best_score")) or -1)
        self.best_trees = int((before and before.attr("best_trees")) or 0)

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Whether to stop, as XGBoost asks after each tree."""
        trees = model.num_boosted_rounds()
        score = evals_log["watched"]["aucpr"][-1]
        if score > self.best_score:
            self.best_score, self.best_trees = score, trees
        if self.told or trees % CHECKPOINT_TREES == 0:
            model.set_attr(best_score=repr(self.best_score), best_trees=str(self.best_trees))
            self._checkpoint.save(model)
        return self.told or trees - self.best_trees >= PATIENCE

    @contextmanager
    def stopped_by_sigterm(self) -> Iterator[None]:
        """While it is open SIGTERM asks for an early end; SageMaker Training waits 120 s for it."""

        def tell(*_: object) -> None:
            self.told = True
            _log.warning("told to stop: saving the trees grown so far")

        before = signal.signal(signal.SIGTERM, tell)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
