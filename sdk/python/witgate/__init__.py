"""What a Witgate plugin written in Python imports.

A plugin is one class: a subclass of `Guardrail`, `RequestHook`, `LogSink`, `Authenticator`, `KeyPolicy`, `Router`, `PromptManager`, `Sso` or `SecretManager`, in the file that
`plugin.toml` names (`plugin.py` without it). `witgate plugin build` makes a component of it; the build
runs the file's top level once and keeps the state, so imports and constants cost nothing later, and the
host's services are not there yet.

The services are modules: `http`, `jwt`, `secrets`, `settings`, `log`, `metrics`, `clock`, `random`, `files`, `kv`, `llm`, `mail`, `request`.
"""

from . import clock, files, http, jwt, kv, llm, log, mail, metrics, random, request, secrets, settings
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
from .key_policy import KeyDenial, KeyEdit, KeyPolicy, KeyRequest, allow_key, deny_key, edit_key
from .log_sink import Event, LogSink, delivered, from_response, partial, rejected, retry
from .request_hook import (
    CallFailure,
    Deployment,
    HookCall,
    Refusal,
    Reply,
    RequestHook,
    StreamHook,
    end,
    refuse,
    replace_body,
    respond,
)
from .router import Router, RouteRequest
from .secret_manager import Reading, Secret, SecretManager
from .sso import Authorization, Callback, Login, OpenID, SignInRequest, Sso, UserValues, turn_away

__version__ = "0.1.0"

__all__ = [
    "AuthRequest",
    "Authenticator",
    "Authorization",
    "Block",
    "Body",
    "Call",
    "Callback",
    "CallFailure",
    "CouldNotJudge",
    "Denial",
    "DeniedByHost",
    "Deployment",
    "Edits",
    "Event",
    "Failed",
    "Guardrail",
    "HookCall",
    "Identity",
    "Key",
    "KeyDenial",
    "KeyEdit",
    "KeyPolicy",
    "KeyRequest",
    "LogSink",
    "Login",
    "OpenID",
    "PluginError",
    "Prompt",
    "PromptCall",
    "PromptManager",
    "Reading",
    "Secret",
    "SecretManager",
    "Refusal",
    "Reply",
    "RequestHook",
    "RouteRequest",
    "Router",
    "SettingsError",
    "SignInRequest",
    "Sso",
    "StreamGuard",
    "StreamHook",
    "Text",
    "Unavailable",
    "UserValues",
    "allow",
    "allow_key",
    "block",
    "clock",
    "could_not_judge",
    "decline",
    "delivered",
    "deny",
    "deny_key",
    "edit",
    "edit_key",
    "end",
    "files",
    "from_response",
    "http",
    "jwt",
    "kv",
    "llm",
    "mail",
    "log",
    "metrics",
    "partial",
    "random",
    "refuse",
    "rejected",
    "remove",
    "replace_body",
    "request",
    "respond",
    "retry",
    "secrets",
    "set_value",
    "settings",
    "turn_away",
]
