"""Read and write ``contract.json`` beside a feature table."""

from __future__ import annotations

from datetime import date

from fraudline.catalog.contract import CONTRACT_FILE, ContractFile, contract_file
from fraudline.runtime.channels import Channels


def write_contract(channels: Channels, name: str, first: date, end: date) -> None:
    """Write ``contract.json`` into output ``name``, whose feature table covers the days [first, end)."""
    channels.write_json(name, CONTRACT_FILE, contract_file(first, end))


def read_contract(channels: Channels, name: str) -> ContractFile:
    """Return ``contract.json`` of input ``name``."""
    contract: ContractFile = channels.read_json(name, CONTRACT_FILE)
    return contract
