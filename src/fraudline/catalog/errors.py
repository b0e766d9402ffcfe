"""The errors that a user is expected to read.

Their texts are shown to the user and written to logs, so they never hold a customer's data.
"""


class InputError(Exception):
    """The input or a parameter is wrong: what was expected, what came, and what to do."""


class TemporaryError(Exception):
    """Nothing is wrong with the input: the same again, a little later, may do."""
