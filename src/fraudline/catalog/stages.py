"""The single table of stages, which entrypoints, orchestrators, the stack and the documents read."""

from __future__ import annotations

from fraudline.catalog import parsing
from fraudline.catalog.days import RISK_HISTORY_DAYS
from fraudline.catalog.parsing import number
from fraudline.catalog.risk import BOUNDS, HIGH
from fraudline.catalog.stage import Alarm, Channel, Image, Metric, Parameter, Stage

_SHARE = number(float, 0.0, 1.0)
_COUNT = number(int, 1)

# Every batch stage takes these; together they are a Run.
AS_OF = Parameter("as_of", parsing.day, "only rows before this day's midnight are visible", "UTC date")
EXECUTION = Parameter("execution", str, "name that published channels record", "name", "unnamed")
REPLACE = Parameter("replace", parsing.boolean, "let a published channel change its content", "true or false", False)
NOW = Parameter("now", parsing.instant, "the clock; read when the stage starts, unless given", "UTC time", None)
RUN = (AS_OF, EXECUTION, REPLACE, NOW)

LABEL_DELAY = Parameter(
    "label_delay_days", number(int, 0, 30), "a label counts this many whole days after its transaction", "days", 7
)
COLUMN = Parameter(
    "column", parsing.column, "a column that has another name in the input", "canonical=source", (), many=True
)
MAX_REJECTED = Parameter("max_rejected", _SHARE, "fail when a larger share of rows is rejected", "share", 0.05)
SEED = Parameter("seed", int, "seed of all random numbers", "", 7)
REVIEW_BUDGET = Parameter("review_budget", _COUNT, "alerts that analysts can review", "alerts a day", 100)
URGENT_LOSS = Parameter("urgent_loss", number(float, 0), "expected loss that makes an alert URGENT", "currency", 200.0)
THRESHOLD = Parameter("threshold", _SHARE, "alert on scores above it", "probability", BOUNDS[HIGH])

RAW = Channel("raw", "raw transactions: YYYY-MM-DD/ with Parquet, CSV or JSON lines")
LABELS = Channel("labels", "fraud labels: transaction_id, is_fraud and, if known, labeled_at, in the same formats")
REJECTED = Channel("rejected", "rejected rows, each with all its reasons", required=False)
HISTORY = Channel("history", "the compact past that the windows of the next day need", published=True)
DATASET = Channel("dataset", "valid transactions with their labels and weights, in folders of customers")
MODEL = Channel("model", "the artifact: its files, a model.tar.gz, or the champion's folder")
CHAMPION = Channel("champion", "current.json, which names the champion or null, and the champion's artifact")
TRANSACTIONS = Channel("transactions", "the day's valid transactions")
KNOWN_LABELS = Channel(
    "labels", f"labels of the last {RISK_HISTORY_DAYS} days known by as_of, with merchant, category and day"
)
FEATURES = Channel("features", "one row per transaction: its keys and 25 features, and contract.json")
SCORES = Channel("scores", "one row per transaction: margin, score, risk level, reason codes")
HIGH_RISK = Channel("high_risk", "the transactions above the threshold, ranked")

REJECTED_SHARE = "share of raw rows that were rejected"

DATA_EXTRACTION = Stage(
    "data-extraction",
    step="DataExtraction",
    image="etl",
    prefix="DataExtract",
    description="Extract months of valid transactions, joined with the labels known by as_of.",
    reads=(RAW, LABELS),
    writes=(DATASET, REJECTED),
    parameters=(
        *RUN,
        Parameter("months", _COUNT, "how far back to read", "calendar months", 6),
        LABEL_DELAY,
        COLUMN,
        MAX_REJECTED,
        Parameter("sample", parsing.fraction, "genuine training rows to keep, marked by a weight", "share", 1.0),
    ),
    metrics=(Metric("rejected_share", REJECTED_SHARE),),
)
FEATURE_ENGINEERING = Stage(
    "feature-engineering",
    step="FeatureEngineering",
    image="features",
    prefix="Features",
    description="Compute the features of every transaction, split them by time, and publish the history.",
    reads=(DATASET,),
    writes=(
        Channel("train", "rows to learn from"),
        Channel("validation", "later rows, for early stopping and calibration"),
        Channel("test", "the last rows whose labels are mature"),
        HISTORY,
    ),
    parameters=(
        *RUN,
        LABEL_DELAY,
        Parameter("warmup_days", number(int, 0), "first days that only fill the windows", "days", 14),
        Parameter("test_days", _COUNT, "length of the test window", "days", 7),
        Parameter("validation_share", _SHARE, "last part of the rows before the test window", "share of days", 0.2),
    ),
)
TRAIN = Stage(
    "train",
    step="TrainModel",
    image="train",
    prefix="Model",
    description="Train a calibrated model, boosted trees or a random forest, as an artifact that checks itself.",
    reads=(Channel("train", "rows to learn from"), Channel("validation", "later rows")),
    writes=(Channel("model", "the artifact"),),
    parameters=(
        *RUN,
        Parameter("algorithm", str, "xgboost or random-forest", "", "xgboost"),
        Parameter("rounds", _COUNT, "most trees to grow", "trees", 600),
        Parameter("max_depth", number(int, 1, 16), "depth of a tree", "levels", 6),
        Parameter("learning_rate", number(float, 0.001, 1.0), "shrinkage of each tree", "", 0.05),
        SEED,
    ),
    platform="training",
)
EVALUATE_MODEL = Stage(
    "evaluate-model",
    step="EvaluateModel",
    image="train",
    prefix="Evaluation",
    description="Compare challenger and champion on the same test window, and write the gate's verdict.",
    reads=(MODEL, Channel("test", "the last rows whose labels are mature"), CHAMPION),
    writes=(Channel("evaluation", "the scores of the test window, and verdict.json"),),
    parameters=(
        *RUN,
        THRESHOLD,
        Parameter("min_average_precision", _SHARE, "lowest average precision to deploy", "", 0.2),
        Parameter("min_card_precision", _SHARE, "lowest card-precision@100 to deploy", "", 0.05),
        Parameter("samples", _COUNT, "bootstrap samples", "", 500),
        SEED,
    ),
    metrics=(
        Metric("accuracy", "of the challenger on the test window, at the threshold"),
        Metric("recall", "of the challenger on the test window, at the threshold"),
        Metric(
            "average_precision",
            "of the challenger on the test window",
            alarm=Alarm(
                "EvaluatedAveragePrecision",
                "below",
                0.4,
                "A challenger's average precision on its test window is below 0.4",
            ),
        ),
        Metric(
            "card_precision_at_100",
            "of the challenger on the test window",
            alarm=Alarm(
                "CardPrecision",
                "below",
                0.1,
                "A challenger finds fewer than 10 compromised cards among its first 100 per day",
            ),
        ),
    ),
)
DEPLOY_MODEL = Stage(
    "deploy-model",
    step="DeployModel",
    image="score",
    prefix="Deployment",
    description="Smoke-test the challenger on the real server, deploy it, and make it the champion.",
    reads=(MODEL, Channel("evaluation", "the gate's verdict")),
    writes=(
        Channel("deployment", "what was deployed, and the smoke test"),
        Channel("models", "the artifact at its own address, as model.tar.gz", published=True),
        Channel("champion", "current.json and the champion's artifact"),
    ),
    parameters=(
        *RUN,
        Parameter(
            "endpoint", str, "SageMaker endpoint to create or update; without it only the champion changes", "name", ""
        ),
        Parameter("serving_image", str, "the score image in ECR, for the endpoint", "URI", ""),
        Parameter("role", str, "the role that the endpoint runs as", "ARN", ""),
        Parameter("serving_instance", str, "instance type of the endpoint", "instance type", "ml.m5.large"),
        Parameter("serving_instances", _COUNT, "instances of the endpoint", "instances", 1),
        Parameter("kms_key", str, "key of the endpoint's volumes", "ARN", ""),
        Parameter("subnets", str, "subnets of the endpoint", "subnet ids", (), many=True),
        Parameter("security_groups", str, "security groups of the endpoint", "security group ids", (), many=True),
        Parameter(
            "network_isolation",
            parsing.boolean,
            "cut the endpoint's container off from the network",
            "true or false",
            False,
        ),
    ),
)
ETL = Stage(
    "etl",
    step="ETL",
    image="etl",
    prefix="ETL",
    description="Validate the transactions of the day before as_of, and collect the labels known by then.",
    reads=(RAW, LABELS),
    writes=(TRANSACTIONS, REJECTED, KNOWN_LABELS),
    parameters=(*RUN, LABEL_DELAY, COLUMN, MAX_REJECTED),
    metrics=(
        Metric(
            "rejected_share",
            REJECTED_SHARE,
            alarm=Alarm("RejectedShare", "above", 0.01, "More than 1 % of a delivery's rows were rejected"),
        ),
    ),
)
FEATURE_EXTRACTION = Stage(
    "feature-extraction",
    step="FeatureExtraction",
    image="features",
    prefix="Features",
    description="Compute the features of one day from the history, and publish the next day's history.",
    reads=(
        TRANSACTIONS,
        KNOWN_LABELS,
        Channel("history", "the history before the day, or dynamodb://TABLE that holds it", published=True),
    ),
    writes=(FEATURES, HISTORY),
    parameters=(*RUN, LABEL_DELAY),
)
BACKFILL_HISTORY = Stage(
    "backfill-history",
    step="BackfillHistory",
    image="features",
    prefix="Backfill",
    description="Rebuild the history before as_of from raw data.",
    reads=(DATASET,),
    writes=(HISTORY,),
    parameters=(*RUN, LABEL_DELAY),
)
PUBLISH_HISTORY = Stage(
    "publish-history",
    step="PublishHistory",
    image="features",
    prefix="PublishedHistory",
    description="Load a history into a DynamoDB table, for features of single transactions.",
    reads=(Channel("history", "the history before as_of", published=True),),
    parameters=(
        *RUN,
        LABEL_DELAY,
        Parameter("table", str, "the table to load; its partition key is the string 'key'", "dynamodb://NAME"),
    ),
)
CHECK_CONSISTENCY = Stage(
    "check-consistency",
    step="CheckConsistency",
    image="features",
    prefix="Consistency",
    description="Compare served features with the same features recomputed; exit code 3 if they differ.",
    reads=(
        Channel("served", "features as they were served: transaction_id and the 25"),
        Channel("features", "the same features recomputed from raw data"),
    ),
    writes=(Channel("consistency", "one row per feature: compared, equal, different, missing, largest difference"),),
    parameters=(
        *RUN,
        Parameter("max_different", _SHARE, "a larger share of differences is inconsistent", "share", 0.0),
    ),
)
FRAUD_SCORING = Stage(
    "fraud-scoring",
    step="FraudScoring",
    image="score",
    prefix="Scores",
    description="Score every transaction, and give reason codes above the LOW risk level.",
    reads=(FEATURES, Channel("model", MODEL.description, required=False)),
    writes=(SCORES,),
    parameters=(
        *RUN,
        Parameter("endpoint", str, "score there instead of in process", "https://… or sagemaker://NAME", ""),
        Parameter("batch", _COUNT, "rows per request", "rows", 100),
        MAX_REJECTED,
    ),
)
FILTER_HIGH_RISK = Stage(
    "filter-high-risk",
    step="FilterHighRisk",
    image="score",
    prefix="HighRisk",
    description="Keep the scores above the threshold, ranked, each with an alert priority.",
    reads=(SCORES, TRANSACTIONS),
    writes=(HIGH_RISK,),
    parameters=(*RUN, THRESHOLD, REVIEW_BUDGET, URGENT_LOSS),
)
ALERT_AND_STORE = Stage(
    "alert-and-store",
    step="AlertAndStore",
    image="score",
    prefix="Results",
    description="Archive and store every score, send alerts, open cases, and write the daily report.",
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
        *RUN,
        THRESHOLD,
        REVIEW_BUDGET,
        LABEL_DELAY,
        Parameter(
            "table",
            str,
            "table for scores, and for a record of what was sent; its partition key is the string 'key'",
            "dynamodb://NAME",
            "",
        ),
        Parameter("topic", str, "SNS topic for the alerts; needs the table", "ARN", ""),
        Parameter("investigation", str, "STANDARD state machine to start for each case", "ARN", ""),
        Parameter("retention_days", _COUNT, "how long the table keeps a day (attribute expires_at)", "days", 400),
    ),
    metrics=(
        Metric("scored", "transactions of the day with a score", "Count"),
        Metric(
            "alert_rate",
            "share of the day's transactions above the threshold",
            alarm=Alarm("FraudRate", "above", 0.02, "More than 2 % of a day's transactions are above the threshold"),
        ),
        Metric(
            "drift",
            "largest stability index among features that moved more than usual; above 0.25: shifted",
            alarm=Alarm(
                "Drift", "above", 0.25, "A feature's distribution has shifted since training, by more than usual"
            ),
        ),
        Metric(
            "accuracy",
            "at the threshold, on the last 7 days whose labels are mature",
            alarm=Alarm(
                "Accuracy",
                "below",
                0.85,
                "Accuracy is below 85 %, which is rare at 1 % fraud; recall and average precision say more",
            ),
        ),
        Metric("precision", "at the threshold, on the same days: share of alerts that were fraud"),
        Metric(
            "recall",
            "at the threshold, on the same days",
            alarm=Alarm(
                "Recall",
                "below",
                0.3,
                "Less than 30 % of the known frauds of the last mature days were above the threshold",
            ),
        ),
        Metric(
            "average_precision",
            "on the same days",
            alarm=Alarm("AveragePrecision", "below", 0.4, "Average precision on the last mature days is below 0.4"),
        ),
    ),
)
SERVE = Stage(
    "serve",
    step="",
    image="score",
    prefix="",
    description="Serve /ping and /invocations on port 8080 until SIGTERM.",
    reads=(MODEL,),
    parameters=(
        Parameter("host", str, "address to listen on", "", "0.0.0.0"),  # noqa: S104 - a container's own
        Parameter("port", number(int, 0, 65535), "port to listen on", "", 8080),
    ),
    platform="hosting",
)

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        DATA_EXTRACTION,
        FEATURE_ENGINEERING,
        TRAIN,
        EVALUATE_MODEL,
        DEPLOY_MODEL,
        ETL,
        FEATURE_EXTRACTION,
        BACKFILL_HISTORY,
        PUBLISH_HISTORY,
        CHECK_CONSISTENCY,
        FRAUD_SCORING,
        FILTER_HIGH_RISK,
        ALERT_AND_STORE,
        SERVE,
    )
}
IMAGES: tuple[Image, ...] = tuple(dict.fromkeys(stage.image for stage in STAGES.values()))
