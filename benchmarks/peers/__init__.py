"""The same 25 features as others would write them: scripts that take DATASET and OUT, equal in output to ours."""
