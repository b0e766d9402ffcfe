"""The one error that a user is expected to read."""


class InputError(Exception):
    """The input or a parameter is wrong: what was expected, what came, and what to do.

    Its text is shown to the user and written to logs, so it never holds a customer's data.
    """
