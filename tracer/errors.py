"""The exceptions that cross module borders. Everything else is handled where it happens."""


class TracerError(Exception):
    """Base of the errors below; its text is a sentence meant for a user."""


class SettingsError(TracerError):
    """A setting cannot be read. Stops the start, and nothing else does."""


class EventError(TracerError):
    """An event, or a body of events, that is not taken.

    `reason` is one of `tracer.ledger.Rejection`; `field` names the offending field as the caller
    spelled it, or is None where the whole event is at fault.
    """

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class ParameterError(TracerError):
    """A parameter of a query is unknown, cannot be read or is out of range."""


class StoreError(TracerError):
    """The database cannot be opened or used; the text names the cause in words."""


class StoreLocked(StoreError):
    """Another running instance holds the database. It may be a predecessor that is leaving."""


class StoreCorrupt(StoreError):
    """The file is damaged, or not a database at all."""
