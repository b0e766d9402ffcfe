"""Limits and names of an account that would stop a deployment or its first runs, with the commands that fix them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from fraudline.orchestration.stack.parameters import parameters
from fraudline.runtime import aws, aws_errors

# New accounts have this concurrency, and with it at most this memory; GetAccountSettings reports only the former.
NEW_CONCURRENCY, NEW_MEMORY = 10, 3008
# Three functions score a transaction, one a day, and one loads its history.
LEAST_CONCURRENCY = 5

Clients = Callable[[str], Any]


@dataclass(frozen=True)
class Quota:
    """A quota of Service Quotas by its name, and how much of it the stack needs."""

    service: str
    name: str
    needed: int


def problems(name: str, values: Mapping[str, str], *, new: bool, clients: Clients = aws.client) -> list[str]:
    """Return what would fail, as sentences with the commands that fix it.

    Args:
        name: prefix of every name in the stack.
        values: parameters that differ from the template's defaults.
        new: True if the stack does not exist yet.
        clients: returns a service's client.
    """
    chosen = {key: str(values.get(key, it.get("Default", ""))) for key, it in parameters().items()}
    checks = [lambda: _memory(chosen, clients), lambda: _quotas(_needed(chosen), clients)]
    if new:
        checks.append(lambda: _names(name, clients))
    return [problem for check in checks for problem in _unless_denied(check)]


def _unless_denied(check: Callable[[], Iterator[str]]) -> list[str]:
    """Return what a check finds; where it may not ask, the deployment itself has to find out."""
    try:
        return list(check())
    except ClientError as error:
        print(f"not checked: {error.operation_name} answered {aws_errors.code(error)}")
        return []


def _memory(chosen: Mapping[str, str], clients: Clients) -> Iterator[str]:
    limit = clients("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    if limit < LEAST_CONCURRENCY:
        yield (
            f"Lambda may run {limit} functions at once, and the stack needs {LEAST_CONCURRENCY}; aws service-quotas "
            f"request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000"
        )
    for parameter in ("FunctionMemory", "RealtimeMemory"):
        if limit <= NEW_CONCURRENCY and int(chosen[parameter]) > NEW_MEMORY:
            yield (
                f"{parameter} is {chosen[parameter]} MB, and an account with a concurrency of {limit} may have "
                f"{NEW_MEMORY}; make deploy ARGS='--set {parameter}={NEW_MEMORY}', or ask AWS Support for more"
            )


def _needed(chosen: Mapping[str, str]) -> list[Quota]:
    """Return the quotas that the chosen instances and workers need; their names are those of Service Quotas."""
    jobs = {"processing": chosen["ProcessingInstance"], "training": chosen["TrainingInstance"]}
    needed = [Quota("sagemaker", f"{instance} for {kind} job usage", 1) for kind, instance in jobs.items()]
    if chosen["Hosting"] == "Endpoint":
        name = f"{chosen['ServingInstance']} for endpoint usage"
        needed.append(Quota("sagemaker", name, int(chosen["ServingInstances"])))
    # A worker of type G.1X is one DPU.
    return [*needed, Quota("glue", "Max task DPUs per account", int(chosen["GlueWorkers"]))]


def _quotas(needed: list[Quota], clients: Clients) -> Iterator[str]:
    client = clients("service-quotas")
    for service in dict.fromkeys(quota.service for quota in needed):
        pages = client.get_paginator("list_service_quotas").paginate(ServiceCode=service)
        values = {it["QuotaName"]: it for page in pages for it in page["Quotas"]}
        for quota in needed:
            value = values.get(quota.name) if quota.service == service else None
            if value and value["Value"] < quota.needed:
                yield (
                    f"{quota.name}: the quota is {value['Value']:g}, and the stack needs {quota.needed}; aws "
                    f"service-quotas request-service-quota-increase --service-code {service} "
                    f"--quota-code {value['QuotaCode']} --desired-value {quota.needed}, or choose another with --set"
                )


def _names(name: str, clients: Clients) -> Iterator[str]:
    """Yield log groups that exist: a service writes its last lines after the stack and its group are deleted."""
    groups = (f"/{name}/functions", f"/aws/vendedlogs/states/{name}", f"/aws/vendedlogs/pipes/{name}")
    for group in groups:
        existing = clients("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if group in [it["logGroupName"] for it in existing]:
            yield f"the log group {group} exists; aws logs delete-log-group --log-group-name {group}"
