"""SageMaker Pipelines: definitions rendered from plans, and executions created, started and watched."""
