"""How each platform starts a stage: command line, SageMaker folders, Lambda, Glue, real time."""
