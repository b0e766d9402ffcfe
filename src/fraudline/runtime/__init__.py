"""How a stage reads, writes and fails: channels, S3, DynamoDB, AWS clients and errors."""
