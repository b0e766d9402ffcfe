"""The CloudFormation stack: its template, derived from the catalog, and its deployment."""
