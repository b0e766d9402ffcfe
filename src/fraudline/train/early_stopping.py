"""Stop boosting when the trees no longer improve, or on SIGTERM; checkpoints let another instance continue."""

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

PATIENCE = 40  # trees without an improvement on the watched rows
CHECKPOINT_TREES = 50
_FILE = "checkpoint.ubj"


class Checkpoint:
    """The trees boosted so far, in a folder that outlives the instance (SageMaker copies it to S3 as it changes).

    Args:
        folder: the folder of the file; None for no checkpoints.
        origin: the hash of the rows and parameters (see ``origin``); trees of another origin are not continued.
    """

    def __init__(self, folder: Path | None, origin: str) -> None:
        self._path = folder / _FILE if folder else None
        self._origin = origin

    def load(self) -> xgboost.Booster | None:
        """Return the trees to continue from, or None to start with the first tree."""
        if self._path is None or not self._path.is_file() or not self._path.stat().st_size:
            return None
        booster = xgboost.Booster(model_file=self._path)
        if booster.attr("origin") != self._origin:
            _log.info("the checkpoint comes from other rows or parameters: starting from the first tree")
            return None
        _log.info("continuing from %d trees", booster.num_boosted_rounds())
        return booster

    def save(self, booster: xgboost.Booster) -> None:
        """Write the trees; the file is replaced as a whole, so it is never incomplete."""
        if self._path is not None:
            booster.set_attr(origin=self._origin)
            partial = self._path.with_suffix(".partial.ubj")
            booster.save_model(partial)
            partial.replace(self._path)

    def clear(self) -> None:
        """Empty the file, so that a later training on the same rows starts over and gives the same model."""
        if self._path is not None and self._path.exists():
            self._path.write_bytes(b"")  # not deleted: SageMaker would leave the copy in S3


def origin(rows: FeatureTable, watched: FeatureTable, parameters: Mapping[str, Any]) -> str:
    """Return a hash of everything that the trees depend on: rows, watched rows and parameters."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for table in (rows, watched):
        for values in (table.values, table.labels, table.weights):
            digest.update(values.tobytes())
    return digest.hexdigest()


class EarlyStopping(xgboost.callback.TrainingCallback):
    """A callback that ends boosting after PATIENCE trees without an improvement, or on SIGTERM.

    XGBoost's own callback loses its best score when training continues from a checkpoint; this one stores
    the score, and the number of trees that reached it, in the checkpoint.

    Attributes:
        stop_requested: whether SIGTERM was received.
        best_score: the highest score on the watched rows.
        best_trees: the number of trees that reached it.
    """

    def __init__(self, checkpoint: Checkpoint, previous: xgboost.Booster | None) -> None:
        self._checkpoint = checkpoint
        self.stop_requested = False
        self.best_score, self.best_trees = -1.0, 0
        if previous is not None:
            self.best_score = float(previous.attr("best_score") or -1)
            self.best_trees = int(previous.attr("best_trees") or 0)

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Return True to stop boosting; XGBoost calls this after each tree."""
        trees = model.num_boosted_rounds()
        score = evals_log["watched"]["aucpr"][-1]
        if score > self.best_score:
            self.best_score, self.best_trees = score, trees
        if self.stop_requested or trees % CHECKPOINT_TREES == 0:
            model.set_attr(best_score=repr(self.best_score), best_trees=str(self.best_trees))
            self._checkpoint.save(model)
        return self.stop_requested or trees - self.best_trees >= PATIENCE

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """Stop boosting after the current tree on SIGTERM; SageMaker Training sends SIGKILL 120 s later."""

        def request_stop(*_: object) -> None:
            self.stop_requested = True
            _log.warning("SIGTERM: saving the trees boosted so far")

        previous = signal.signal(signal.SIGTERM, request_stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)
