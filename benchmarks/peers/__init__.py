"""The same features in other libraries, each written in its idiomatic way."""
