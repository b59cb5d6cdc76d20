"""LiteLLM's loggers: their lines go to the plugin's log."""

import logging

from witgate import log


class _ToHost(logging.Handler):
    def emit(self, record):
        write = {"DEBUG": log.debug, "INFO": log.info, "WARNING": log.warn}.get(record.levelname, log.error)
        write(self.format(record))


_handler = _ToHost()


def _logger(name):
    made = logging.getLogger(name)
    made.setLevel(logging.DEBUG)
    made.propagate = False
    made.handlers = [_handler]
    return made


verbose_logger = _logger("LiteLLM")
verbose_proxy_logger = _logger("LiteLLM Proxy")
verbose_router_logger = _logger("LiteLLM Router")

# What the author logs by itself goes there too.
logging.getLogger().handlers = [_handler]
logging.getLogger().setLevel(logging.INFO)
# There are no files to log to.
logging.basicConfig = lambda **_: None


def print_verbose(text):
    """A debug line."""
    verbose_logger.debug(text)
