"""What pipeline.py does with its definitions: in SageMaker, and on this machine in SageMaker's local mode."""
