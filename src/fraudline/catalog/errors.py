"""Errors that are written for users.

Users and logs see the messages, so they never quote a customer's data.
"""


class InputError(Exception):
    """The input or a parameter is wrong. The message says what was expected, what came, and what to do."""


class TemporaryError(Exception):
    """A service failed although the input is right; the same call may succeed a little later."""
