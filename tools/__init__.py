"""What only the repository needs: generated documents, the cost model, SageMaker's local mode."""
