"""Every stage, once: what it reads, writes and takes. Hosts, runners, pipelines and READMEs read this table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from fraudline.days import RISK_HISTORY_DAYS
from fraudline.stage import Channel, Metric, Parameter, Stage


def _boolean(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError("expected true or false")
    return values[text.lower()]


def _mapping(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise ValueError("expected OURS=THEIRS, such as merchant=TERMINAL_ID")
    return ours, theirs


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _at_least(kind: type[int] | type[float], low: float, high: float = float("inf")) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(f"expected a number from {low} to {high}")
        return value

    return parse


def _sample(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError("expected a number above 0, up to 1")
    return value


_SHARE = _at_least(float, 0.0, 1.0)
_COUNT = _at_least(int, 1)

AS_OF = Parameter("as_of", date.fromisoformat, "only rows before this day's midnight are visible", "UTC date")
EXECUTION = Parameter("execution", str, "who publishes, for the error when two executions disagree", "name", "unnamed")
LABEL_DELAY = Parameter(
    "label_delay_days", _at_least(int, 0, 30), "a label counts this many whole days after its transaction", "days", 7
)
COLUMN = Parameter("column", _mapping, "a column of the input that has another name", "ours=theirs", (), many=True)
MAX_REJECTED = Parameter("max_rejected", _SHARE, "a larger share of rejected rows fails the stage", "share", 0.05)
SEED = Parameter("seed", int, "seed of everything random", "", 7)
REPLACE = Parameter("replace", _boolean, "let a published channel change what it holds", "true or false", False)
NOW = Parameter("now", _instant, "the clock, read by the host unless given", "UTC time", None)
REVIEW_BUDGET = Parameter("review_budget", _COUNT, "alerts that analysts can review", "alerts a day", 100)
THRESHOLD = Parameter("threshold", _SHARE, "scores above it are high risk", "probability", 0.8)
DAY_TABLE = "one row a transaction"

RAW = Channel("raw", "raw transactions: YYYY-MM-DD/ with Parquet, CSV or JSON lines")
LABELS = Channel("labels", "fraud labels: transaction_id, is_fraud and, if known, labeled_at, in the same formats")
REJECTED = Channel("rejected", "broken rows, each with all its reasons", required=False)
HISTORY = Channel("history", "the compact tail that the windows need", published=True)
DATASET = Channel("dataset", "valid transactions with their labels and weights, in folders of customers")
MODEL = Channel("model", "the artifact: its files, a model.tar.gz, or the champion's folder")
CHAMPION = Channel("champion", "current.json, which names the champion or null, and the champion's artifact")
TRANSACTIONS = Channel("transactions", "the day's valid transactions")
KNOWN_LABELS = Channel(
    "labels", f"labels of the last {RISK_HISTORY_DAYS} days known by as_of, with merchant, category and day"
)
FEATURES = Channel("features", f"{DAY_TABLE}: its keys and 25 features, and contract.json")
SCORES = Channel("scores", f"{DAY_TABLE}: margin, score, risk level, reason codes")
HIGH_RISK = Channel("high_risk", "the transactions above the threshold, ranked")

REJECTED_SHARE = Metric("rejected_share", "broken rows among the raw ones")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "data-extraction",
            step="DataExtraction",
            image="etl",
            prefix="DataExtract",
            says="Months of valid transactions joined with the labels known by as_of.",
            reads=(RAW, LABELS),
            writes=(DATASET, REJECTED),
            parameters=(
                AS_OF,
                Parameter("months", _COUNT, "how far back to read", "calendar months", 6),
                LABEL_DELAY,
                COLUMN,
                MAX_REJECTED,
                Parameter("sample", _sample, "genuine training rows that are kept, marked by a weight", "share", 1.0),
            ),
            watches=(REJECTED_SHARE,),
        ),
        Stage(
            "feature-engineering",
            step="FeatureEngineering",
            image="features",
            prefix="Features",
            says="The features of every transaction, split by time, and the history for the next day.",
            reads=(DATASET,),
            writes=(
                Channel("train", "rows to learn from"),
                Channel("validation", "later rows, for early stopping and calibration"),
                Channel("test", "the last rows whose labels are mature"),
                HISTORY,
            ),
            parameters=(
                AS_OF,
                LABEL_DELAY,
                Parameter("warmup_days", _at_least(int, 0), "first days that only fill the windows", "days", 14),
                Parameter("test_days", _COUNT, "length of the test window", "days", 7),
                Parameter("validation_share", _SHARE, "last part of the rows before it", "share of days", 0.2),
                EXECUTION,
                REPLACE,
            ),
        ),
        Stage(
            "train",
            step="TrainModel",
            image="train",
            prefix="Model",
            says="A gradient-boosted or random forest, calibrated, as a self-checking artifact.",
            reads=(Channel("train", "rows to learn from"), Channel("validation", "later rows")),
            writes=(Channel("model", "the artifact"),),
            parameters=(
                AS_OF,
                Parameter("algorithm", str, "xgboost or random-forest", "", "xgboost"),
                Parameter("rounds", _COUNT, "most trees to grow", "trees", 600),
                Parameter("max_depth", _at_least(int, 1, 16), "depth of a tree", "levels", 6),
                Parameter("learning_rate", _at_least(float, 0.001, 1.0), "shrinkage of each tree", "", 0.05),
                SEED,
            ),
            host="training",
        ),
        Stage(
            "evaluate-model",
            step="EvaluateModel",
            image="train",
            prefix="Evaluation",
            says="The challenger against the champion on the same test window, and the gate's verdict.",
            reads=(MODEL, Channel("test", "the last rows whose labels are mature"), CHAMPION),
            writes=(Channel("evaluation", "metrics, verdict, and the curves behind them"),),
            parameters=(
                AS_OF,
                THRESHOLD,
                Parameter("min_average_precision", _SHARE, "floor of average precision", "", 0.2),
                Parameter("min_card_precision", _SHARE, "floor of card-precision@100", "", 0.05),
                Parameter("samples", _COUNT, "bootstrap samples", "", 500),
                SEED,
            ),
            watches=(
                Metric("accuracy", "of the challenger on the test window, at the threshold"),
                Metric("recall", "of the challenger on the test window, at the threshold"),
                Metric("average_precision", "of the challenger on the test window"),
                Metric("card_precision_at_100", "of the challenger on the test window"),
            ),
        ),
        Stage(
            "deploy-model",
            step="DeployModel",
            image="score",
            prefix="Deployment",
            says="Smoke-tests the challenger behind the real server, deploys it and makes it the champion.",
            reads=(MODEL, Channel("evaluation", "the gate's verdict")),
            writes=(
                Channel("deployment", "what was deployed, and the smoke test"),
                Channel("models", "the artifact's address of its own, as model.tar.gz", published=True),
                Channel("champion", "current.json and the champion's artifact"),
            ),
            parameters=(
                AS_OF,
                EXECUTION,
                REPLACE,
                NOW,
                Parameter(
                    "endpoint", str, "SageMaker endpoint to create or update; without it only the champion", "name", ""
                ),
                Parameter("serving_image", str, "the score image in ECR, for the endpoint", "URI", ""),
                Parameter("role", str, "the role that the endpoint runs as", "ARN", ""),
                Parameter("serving_instance", str, "machine of the endpoint", "instance type", "ml.m5.large"),
                Parameter("serving_instances", _COUNT, "machines of the endpoint", "machines", 1),
                Parameter("kms_key", str, "key of the endpoint's volumes", "ARN", ""),
                Parameter("subnets", str, "of the endpoint", "subnet ids", (), many=True),
                Parameter("security_groups", str, "of the endpoint", "security group ids", (), many=True),
                Parameter(
                    "network_isolation", _boolean, "let the endpoint's container reach nothing", "true or false", False
                ),
            ),
        ),
        Stage(
            "etl",
            step="ETL",
            image="etl",
            prefix="ETL",
            says="The day before as_of, validated, and the labels known by then.",
            reads=(RAW, LABELS),
            writes=(TRANSACTIONS, REJECTED, KNOWN_LABELS),
            parameters=(AS_OF, LABEL_DELAY, COLUMN, MAX_REJECTED),
            watches=(REJECTED_SHARE,),
        ),
        Stage(
            "feature-extraction",
            step="FeatureExtraction",
            image="features",
            prefix="Features",
            says="The same features for one day from the history, and the history for the next day.",
            reads=(
                TRANSACTIONS,
                KNOWN_LABELS,
                Channel("history", "the history before the day, or dynamodb://TABLE that holds it", published=True),
            ),
            writes=(FEATURES, HISTORY),
            parameters=(AS_OF, LABEL_DELAY, EXECUTION, REPLACE),
        ),
        Stage(
            "backfill-history",
            step="BackfillHistory",
            image="features",
            prefix="Backfill",
            says="The history before as_of, rebuilt from raw data.",
            reads=(DATASET,),
            writes=(HISTORY,),
            parameters=(AS_OF, LABEL_DELAY, EXECUTION, REPLACE),
        ),
        Stage(
            "publish-history",
            step="PublishHistory",
            image="features",
            prefix="PublishedHistory",
            says="Loads a history into a DynamoDB table, for features of single transactions.",
            reads=(Channel("history", "the history before as_of", published=True),),
            parameters=(
                AS_OF,
                LABEL_DELAY,
                Parameter("table", str, "the table to load, with the text key 'key'", "dynamodb://NAME"),
                REPLACE,
            ),
        ),
        Stage(
            "check-consistency",
            step="CheckConsistency",
            image="features",
            prefix="Consistency",
            says="Features as they were served against the same recomputed; exit code 3 where they differ.",
            reads=(
                Channel("served", "features as they were served: transaction_id and the 25"),
                Channel("features", "the same features recomputed from raw data"),
            ),
            writes=(Channel("consistency", "one row a feature: compared, equal, different, missing, how far off"),),
            parameters=(
                AS_OF,
                Parameter("max_different", _SHARE, "a larger share of differences is inconsistent", "share", 0.0),
            ),
        ),
        Stage(
            "fraud-scoring",
            step="FraudScoring",
            image="score",
            prefix="Scores",
            says="Every transaction's score, and reason codes above LOW.",
            reads=(FEATURES, Channel("model", MODEL.says, required=False)),
            writes=(SCORES,),
            parameters=(
                AS_OF,
                Parameter("endpoint", str, "score there instead of in process", "https://… or sagemaker://NAME", ""),
                Parameter("batch", _COUNT, "rows a request", "rows", 100),
                MAX_REJECTED,
            ),
        ),
        Stage(
            "filter-high-risk",
            step="FilterHighRisk",
            image="score",
            prefix="HighRisk",
            says="The scores above the threshold, ranked, with an alert priority.",
            reads=(SCORES, TRANSACTIONS),
            writes=(HIGH_RISK,),
            parameters=(
                AS_OF,
                THRESHOLD,
                REVIEW_BUDGET,
                Parameter("urgent_loss", _at_least(float, 0), "expected loss that makes it URGENT", "currency", 200.0),
            ),
        ),
        Stage(
            "alert-and-store",
            step="AlertAndStore",
            image="score",
            prefix="Results",
            says="Every score at its own address and in a table, alerts, cases, and the daily report.",
            reads=(
                SCORES,
                HIGH_RISK,
                TRANSACTIONS,
                FEATURES,
                REJECTED,
                KNOWN_LABELS,
                Channel("past", "the scores of earlier days: date=YYYY-MM-DD/", required=False),
                Channel("reference", "the champion's artifact, whose manifest holds the training histograms"),
            ),
            writes=(
                Channel("results", "alerts.jsonl"),
                Channel("archive", "the day's scores at their own address", published=True),
                Channel("report", "fraud-daily-YYYY-MM-DD.pdf"),
            ),
            parameters=(
                AS_OF,
                THRESHOLD,
                REVIEW_BUDGET,
                LABEL_DELAY,
                Parameter("table", str, "store scores there, and what was sent; text key 'key'", "dynamodb://NAME", ""),
                Parameter("topic", str, "SNS topic for the alerts; needs the table", "ARN", ""),
                Parameter("investigation", str, "STANDARD state machine to start for each case", "ARN", ""),
                Parameter(
                    "retention_days", _COUNT, "how long the table keeps a day (attribute expires_at)", "days", 400
                ),
                EXECUTION,
                REPLACE,
                NOW,
            ),
            watches=(
                Metric("scored", "transactions of the day with a score", "Count"),
                Metric("fraud_rate", "transactions of the day above the threshold"),
                Metric("drift", "largest stability index among features further off than usual; above 0.25: shifted"),
                Metric("accuracy", "at the threshold, on the last 7 days whose labels are mature"),
                Metric("precision", "at the threshold, on the same days: alerts that were confirmed"),
                Metric("recall", "at the threshold, on the same days"),
                Metric("average_precision", "on the same days"),
            ),
        ),
        Stage(
            "serve",
            step="",
            image="score",
            prefix="",
            says="/ping and /invocations on 8080 until told to stop.",
            reads=(MODEL,),
            parameters=(
                Parameter("host", str, "address to listen on", "", "0.0.0.0"),  # noqa: S104 - a container's own
                Parameter("port", _at_least(int, 0, 65535), "port to listen on", "", 8080),
            ),
            host="hosting",
        ),
    )
}
