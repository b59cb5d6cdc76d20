"""What goes wrong."""


class RequestException(IOError):
    """Base of the others."""

    def __init__(self, *arguments, response=None, request=None):
        super().__init__(*arguments)
        self.response = response
        self.request = request


class HTTPError(RequestException):
    """The status is an error."""


class ConnectionError(RequestException):
    """There is no connection."""


class Timeout(RequestException):
    """Nothing came in time."""


class ConnectTimeout(ConnectionError, Timeout):
    """No connection in time."""


class ReadTimeout(Timeout):
    """No answer in time."""


class JSONDecodeError(RequestException, ValueError):
    """The body is no JSON."""
