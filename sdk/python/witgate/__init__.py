"""What a Witgate plugin written in Python imports.

A plugin is one class: a subclass of `Guardrail`, `LogSink`, `Authenticator`, `PromptManager` or `SecretManager`, in the file that
`plugin.toml` names (`plugin.py` without it). `witgate plugin build` makes a component of it; the build
runs the file's top level once and keeps the state, so imports and constants cost nothing later, and the
host's services are not there yet.

The services are modules: `http`, `secrets`, `settings`, `log`, `metrics`, `clock`, `random`, `files`, `kv`, `llm`.
"""

from . import clock, files, http, kv, llm, log, metrics, random, secrets, settings
from .authenticator import Authenticator, Denial, Identity, Key, AuthRequest, decline, deny
from .errors import DeniedByHost, Failed, PluginError, SettingsError, Unavailable
from .guardrail import (
    Block,
    Body,
    Call,
    CouldNotJudge,
    Edits,
    Guardrail,
    StreamGuard,
    Text,
    allow,
    block,
    could_not_judge,
    edit,
    remove,
    set_value,
)
from .prompt_manager import Prompt, PromptCall, PromptManager
from .log_sink import Event, LogSink, delivered, from_response, partial, rejected, retry
from .secret_manager import Reading, Secret, SecretManager

__version__ = "0.1.0"

__all__ = [
    "AuthRequest",
    "Authenticator",
    "Block",
    "Body",
    "Call",
    "CouldNotJudge",
    "Denial",
    "DeniedByHost",
    "Edits",
    "Event",
    "Failed",
    "Guardrail",
    "Identity",
    "Key",
    "LogSink",
    "PluginError",
    "Prompt",
    "PromptCall",
    "PromptManager",
    "Reading",
    "Secret",
    "SecretManager",
    "SettingsError",
    "StreamGuard",
    "Text",
    "Unavailable",
    "allow",
    "block",
    "clock",
    "could_not_judge",
    "decline",
    "delivered",
    "deny",
    "edit",
    "files",
    "from_response",
    "http",
    "kv",
    "llm",
    "log",
    "metrics",
    "partial",
    "random",
    "rejected",
    "remove",
    "retry",
    "secrets",
    "set_value",
    "settings",
]
