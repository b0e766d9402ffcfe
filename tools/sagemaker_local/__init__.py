"""Pipelines on this computer, in SageMaker's local mode."""
