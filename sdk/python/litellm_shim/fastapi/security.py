"""Only names in signatures."""


class HTTPBearer:
    """Only a name."""

    def __init__(self, **_):
        pass


class APIKeyHeader(HTTPBearer):
    """Only a name."""
