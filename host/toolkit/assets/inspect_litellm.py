"""Reads, without running it, what a Python file written for LiteLLM is and what it needs.

    python3 -I inspect_litellm.py FILE [NAME] SHIM_MODULES

Prints one JSON object. What cannot work in a plugin is listed under `problems`, with its line.
"""

import ast
import json
import os
import re
import sys

# Why modules that are installed on many machines cannot be part of a component.
NATIVE = "it has native code, which does not run in a component"
SOCKETS = "it opens connections of its own; use httpx, requests or aiohttp, which go through the gateway"
REFUSED = {
    **dict.fromkeys("numpy pandas scipy torch transformers tiktoken tokenizers cryptography lxml orjson ujson spacy".split(), NATIVE),
    **dict.fromkeys("pydantic pydantic_core pydantic_settings".split(), NATIVE + "; use plain classes or dicts"),
    **dict.fromkeys("redis psycopg psycopg2 asyncpg pymongo mysql sqlalchemy prisma boto3 botocore kafka pika grpc".split(), SOCKETS),
    **dict.fromkeys("openai anthropic google azure".split(), "it needs native code and connections of its own; call the API with httpx"),
    **dict.fromkeys("socket socketserver ssl http.server ftplib smtplib telnetlib".split(), "a plugin has no sockets; use httpx, requests or aiohttp"),
    **dict.fromkeys("urllib.request urllib3 http.client".split(), SOCKETS),
    **dict.fromkeys("multiprocessing subprocess concurrent.futures pty signal".split(), "a plugin has no processes and no threads"),
    **dict.fromkeys("sqlite3 ctypes tkinter dbm curses readline".split(), NATIVE),
    "uvicorn": "a plugin serves nothing",
}
CLIENTS = ("httpx", "requests", "aiohttp")
VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request")
LOG_HOOKS = {
    "async_log_success_event": "success",
    "log_success_event": "success",
    "async_log_failure_event": "failure",
    "log_failure_event": "failure",
}
GUARD_HOOKS = {
    "async_pre_call_hook": ["pre_call"],
    "async_moderation_hook": ["during_call"],
    "async_post_call_success_hook": ["post_call"],
    "apply_guardrail": ["pre_call", "during_call", "post_call"],
    "async_post_call_streaming_hook": ["post_call", "streaming"],
    "async_post_call_streaming_iterator_hook": ["post_call", "streaming"],
}
PROMPT_HOOKS = ("get_chat_completion_prompt", "async_get_chat_completion_prompt", "_compile_prompt_helper")
READ_METHODS = ("sync_read_secret", "async_read_secret")
REQUEST_HOOKS = ("async_pre_call_hook", "async_moderation_hook", "async_post_call_success_hook")
STREAM_HOOKS = ("async_post_call_streaming_hook", "async_post_call_streaming_iterator_hook")
CHAT_CALLS = ("completion", "acompletion")
MODEL_CALLS = "embedding aembedding text_completion atext_completion aimage_generation Router".split()


class File:
    """One file and what was found in it."""

    def __init__(self, path, shim):
        self.path = path
        self.folder = os.path.dirname(os.path.abspath(path))
        self.shim = shim
        with open(path, encoding="utf-8") as file:
            self.tree = ast.parse(file.read(), path)
        self.problems = []
        self.notes = []
        self.imports = []
        self.env = []
        self.hosts = []
        self.models = []
        self.chats = set()
        self.any_host = False
        self.constants = {
            target.id: node.value.value
            for node in self.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.classes = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}

    def problem(self, node, text):
        self.problems.append({"line": getattr(node, "lineno", 0), "text": text})

    def look(self):
        """Everything but what the file is for."""
        for node, optional in self.reached(self.tree):
            known = len(self.problems)
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.module(node, alias.name)
            elif isinstance(node, ast.ImportFrom):
                self.from_module(node)
            elif isinstance(node, ast.Call):
                self.call(node)
            elif isinstance(node, ast.Subscript) and dotted(node.value) == "os.environ":
                self.variable(node.slice)
            elif isinstance(node, ast.Attribute) and dotted(node) in ("threading.Thread", "threading.Timer"):
                self.problem(node, f"{dotted(node)}: a plugin has no threads; use asyncio tasks")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.hosts += re.findall(r"\bhttps?://[A-Za-z0-9.\-]+(?::\d+)?(?=/|$)", node.value)
            if optional and isinstance(node, (ast.Import, ast.ImportFrom)):
                del self.problems[known:]  # the file says itself what happens without the module
        docs = " ".join(filter(None, (ast.get_docstring(node) for node in ast.walk(self.tree) if documented(node))))
        self.hosts = sorted({host for host in self.hosts if host not in docs})

    def reached(self, node, optional=False):
        """Every node that runs, and whether a failing import there is caught. What only type checkers read is left out."""
        if isinstance(node, ast.If) and dotted(node.test).split(".")[-1] == "TYPE_CHECKING":
            children = [(child, optional) for child in node.orelse]
        elif isinstance(node, ast.Try):
            caught = optional or any(catches_import_errors(handler) for handler in node.handlers)
            rest = [child for handler in node.handlers for child in handler.body] + node.orelse + node.finalbody
            children = [(child, caught) for child in node.body] + [(child, optional) for child in rest]
        else:
            children = [(child, optional) for child in ast.iter_child_nodes(node)]
        for child, child_optional in children:
            yield child, child_optional
            yield from self.reached(child, child_optional)

    def module(self, node, name):
        reason = next((REFUSED[part] for part in prefixes(name) if part in REFUSED), None)
        if reason:
            self.problem(node, f"import {name}: {reason}")
        elif name in self.shim or name.split(".")[0] in sys.stdlib_module_names or self.is_beside(name):
            self.imports.append(name)
        elif name.split(".")[0] in {module.split(".")[0] for module in self.shim}:
            self.problem(node, f"import {name}: Witgate has no counterpart of this module")
        else:
            self.problem(
                node,
                f"import {name}: it is not available; there are Python's standard library, LiteLLM's modules for "
                "extensions, httpx, requests, aiohttp, and modules beside this file",
            )

    def from_module(self, node):
        if node.level:
            self.problem(node, "relative imports need a package; import the module by its name")
            return
        parent = node.module
        submodules = [f"{parent}.{alias.name}" for alias in node.names]
        known = [name for name in submodules if name in self.shim or name in REFUSED]
        for name in known or [parent]:
            self.module(node, name)
        if parent == "litellm":
            for alias in node.names:
                if alias.name in MODEL_CALLS:
                    self.problem(node, f"litellm.{alias.name}: a plugin has litellm.completion and acompletion")
                if alias.name in CHAT_CALLS:
                    self.chats.add(alias.asname or alias.name)

    def is_beside(self, name):
        place = os.path.join(self.folder, *name.split("."))
        return os.path.isfile(place + ".py") or os.path.isfile(os.path.join(place, "__init__.py"))

    def call(self, node):
        name = dotted(node.func)
        if name == "open":
            self.problem(node, "open(): a plugin has no files; print() and logging go to the gateway's log")
        elif name in ("os.getenv", "os.environ.get") and node.args:
            self.variable(node.args[0])
        elif name in ("os.system", "os.fork", "os.popen"):
            self.problem(node, f"{name}(): a plugin has no processes")
        elif name.startswith("litellm.") and name.split(".")[1] in MODEL_CALLS:
            self.problem(node, f"{name}(): a plugin has litellm.completion and acompletion")
        elif name in self.chats or name in [f"litellm.{call}" for call in CHAT_CALLS]:
            self.model(node)
        elif name.split(".")[-1] in VERBS and self.sends(node):
            self.any_host |= not self.is_known_url(node)

    def sends(self, node):
        """Whether this may be a request: `requests.post(…)`, `client.get(url)`; not `data.get("key")`."""
        if not isinstance(node.func, ast.Attribute):
            return False
        if dotted(node.func.value).split(".")[0] in CLIENTS:
            return True
        url = self.url_of(node)
        looks = isinstance(url, (ast.JoinedStr, ast.BinOp)) or isinstance(url, ast.Constant) and "/" in str(url.value)
        named = isinstance(url, (ast.Name, ast.Attribute)) and "url" in dotted(url).lower()
        return looks or named

    def url_of(self, node):
        for keyword in node.keywords:
            if keyword.arg == "url":
                return keyword.value
        at = 1 if node.func.attr == "request" else 0
        return node.args[at] if len(node.args) > at else None

    def is_known_url(self, node):
        url = self.url_of(node)
        if isinstance(url, ast.JoinedStr) and url.values:
            first = url.values[0]
            url = first if isinstance(first, ast.Constant) else getattr(first, "value", None)
        while isinstance(url, ast.BinOp):
            url = url.left
        if isinstance(url, ast.Name):
            text = self.constants.get(url.id, "")
        else:
            text = url.value if isinstance(url, ast.Constant) else ""
        return re.match(r"https?://[A-Za-z0-9.\-]+(:\d+)?(/|$)", str(text)) is not None

    def model(self, node):
        """The model of a call, any when it is not written out."""
        given = [keyword.value for keyword in node.keywords if keyword.arg == "model"] + node.args[:1]
        model = given[0] if given else None
        if isinstance(model, ast.Name):
            text = self.constants.get(model.id)
        else:
            text = model.value if isinstance(model, ast.Constant) else None
        self.models.append(text if isinstance(text, str) and "*" not in text else "*")

    def variable(self, node):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.env.append(node.value)
        else:
            self.notes.append("an environment variable is read by a name that is not written out; it will not be there")

    # What the file is for.

    def is_a(self, node, base, seen=()):
        """Whether a class descends from LiteLLM's class of this name."""
        for parent in node.bases:
            name = dotted(parent)
            if name.split(".")[-1] == base:
                return True
            if name in self.classes and name not in seen and self.is_a(self.classes[name], base, (*seen, name)):
                return True
        return False

    def methods(self, node):
        found = {one.name for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
        for parent in node.bases:
            if dotted(parent) in self.classes:
                found |= self.methods(self.classes[dotted(parent)])
        return found

    def candidates(self):
        """Everything that a configuration may name, as (name, kind, node)."""
        found = []
        for name, node in self.classes.items():
            if any(name in [dotted(parent) for parent in other.bases] for other in self.classes.values()):
                continue
            if self.is_a(node, "CustomGuardrail"):
                found.append((name, "guardrail", node))
            elif self.is_a(node, "CustomSecretManager") or self.is_a(node, "BaseSecretManager"):
                found.append((name, "secret-manager", node))
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                made = self.classes.get(dotted(node.value.func))
                if made is not None and self.is_a(made, "CustomPromptManagement"):
                    found += [(target.id, "prompt-manager", made) for target in node.targets if isinstance(target, ast.Name)]
                elif made is not None and self.is_a(made, "CustomLogger"):
                    found += [(target.id, "log-sink", made) for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
                if len(names) == 2 and (names[0] == "request" or names[1] == "api_key"):
                    found.append((node.name, "authenticator", node))
        return found

    def describe(self, wanted):
        found = self.candidates()
        if wanted:
            found = [one for one in found if one[0] == wanted]
        if not found:
            bases = ("CustomLogger", "CustomPromptManagement")
            loose = [name for name, node in self.classes.items() if any(self.is_a(node, base) for base in bases)]
            if loose and not wanted:
                self.problem(self.classes[loose[0]], f"{loose[0]} has no instance; add: proxy_handler_instance = {loose[0]}()")
            else:
                self.problem(
                    None,
                    (f"there is no {wanted} in it; " if wanted else "")
                    + "it defines none of: a function (request, api_key) for custom_auth, an instance of a CustomLogger "
                    "subclass for callbacks, of a CustomPromptManagement subclass, a CustomGuardrail subclass, a CustomSecretManager subclass",
                )
            return {}
        if len(found) > 1:
            names = ", ".join(f"{name} ({kind})" for name, kind, _ in found)
            self.problem(None, f"it has several: {names}; a component is one of them: give FILE.py:NAME")
            return {}
        name, kind, node = found[0]
        return {"name": name, "kind": kind, **getattr(self, "describe_" + kind.replace("-", "_"))(node)}

    def describe_authenticator(self, node):
        first = (node.args.posonlyargs + node.args.args)[0].arg
        for one in ast.walk(node):
            if isinstance(one, ast.Call) and dotted(one.func) in [f"{first}.{name}" for name in ("json", "body", "form", "stream")]:
                self.problem(one, f"{dotted(one.func)}(): the gateway authenticates before it reads bodies; decide by key, path and headers")
        return {}

    def describe_log_sink(self, node):
        methods = self.methods(node)
        events = sorted({LOG_HOOKS[name] for name in methods if name in LOG_HOOKS}, reverse=True)
        hooks = [name for name in REQUEST_HOOKS + STREAM_HOOKS if name in methods]
        if not events:
            self.problem(
                node,
                "it logs nothing"
                + (f": {', '.join(hooks)} judge or edit calls; make it a CustomGuardrail and list it under `guardrails`" if hooks else ""),
            )
        elif hooks:
            self.notes.append(f"{', '.join(hooks)}: not called for a logger; a CustomGuardrail can have them")
        return {"events": events}

    def describe_prompt_manager(self, node):
        methods = self.methods(node)
        if not any(name in methods for name in PROMPT_HOOKS):
            self.problem(node, f"it fetches no prompt: it needs one of {', '.join(PROMPT_HOOKS)}")
        hooks = [name for name in (*LOG_HOOKS, *REQUEST_HOOKS, *STREAM_HOOKS) if name in methods]
        if hooks:
            self.notes.append(f"{', '.join(hooks)}: not called for a prompt manager; put them into a logger or guardrail of its own")
        return {}

    def describe_secret_manager(self, node):
        if not self.methods(node) & set(READ_METHODS):
            self.problem(node, f"it reads nothing: it needs one of {', '.join(READ_METHODS)}")
        for one in ast.walk(node):
            if isinstance(one, ast.FunctionDef) and one.name == "__init__" and takes_arguments(one):
                self.problem(one, f"{node.name}() is made without arguments; read what it needs from os.environ")
        return {}

    def describe_guardrail(self, node):
        methods = self.methods(node)
        phases = {phase for name in methods for phase in GUARD_HOOKS.get(name, [])}
        if not phases:
            self.problem(node, f"it judges nothing: it needs one of {', '.join(GUARD_HOOKS)}")
        order = ["pre_call", "during_call", "post_call", "streaming"]
        return {"phases": sorted(phases, key=order.index)}


def dotted(node):
    """`a.b.c` of an expression, empty when it is something else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        start = dotted(node.value)
        return f"{start}.{node.attr}" if start else node.attr
    return ""


def takes_arguments(init):
    """Whether a constructor cannot be called without any."""
    positional = init.args.posonlyargs + init.args.args
    keyword = sum(1 for default in init.args.kw_defaults if default is None)
    return len(positional) - len(init.args.defaults) > 1 or keyword > 0


def catches_import_errors(handler):
    names = [handler.type] if not isinstance(handler.type, ast.Tuple) else handler.type.elts
    return any(name is None or dotted(name) in ("ImportError", "ModuleNotFoundError", "Exception") for name in names)


def prefixes(name):
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def documented(node):
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))


def main():
    path, wanted, shim = sys.argv[1:4]
    try:
        file = File(path, set(shim.split(",")))
    except SyntaxError as error:
        print(json.dumps({"problems": [{"line": error.lineno or 0, "text": f"it is no Python: {error.msg}"}]}))
        return
    file.look()
    facts = file.describe(wanted)
    sends = any(name.split(".")[0] in CLIENTS or "httpx" in name for name in file.imports)
    egress = file.hosts if sends else []
    if sends and (file.any_host or not egress):
        egress = ["https://*:*", "http://*:*"]
        file.notes.append("its URLs are not all written out, so it may call any public host; narrow that with `grants.egress`")
    if file.models:
        names = ", ".join(sorted(set(file.models)))
        file.notes.append(f"it calls models ({names}): grant the ones it may call, by their names in model_list, with `grants.llm`")
    doc = (ast.get_docstring(file.tree) or "").strip().split("\n")[0]
    print(
        json.dumps(
            {
                **facts,
                "description": doc,
                "imports": sorted(set(file.imports)),
                "env": sorted(set(file.env)),
                "egress": egress,
                "llm": sorted(set(file.models)),
                "problems": sorted(file.problems, key=lambda problem: problem["line"]),
                "notes": file.notes,
            }
        )
    )


main()
