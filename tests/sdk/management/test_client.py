"""LiteLLM's own management client (`litellm.proxy.client`) and command line (`litellm-proxy`), unmodified."""

import json
import os
import uuid

import pytest
import requests
from click.testing import CliRunner
from litellm.proxy.client import Client, UsersManagementClient
from litellm.proxy.client.cli.main import cli as command_line
from litellm.proxy.client.exceptions import NotFoundError, UnauthorizedError

URL = os.environ["LITELLM_PROXY_URL"]
MASTER = os.environ["LITELLM_PROXY_API_KEY"]


@pytest.fixture
def client():
    return Client(URL, MASTER)


@pytest.fixture
def users():
    return UsersManagementClient(URL, MASTER)


# The gateway's own document says what it has; what it gets later is tested from then on.
PATHS = requests.get(f"{URL}/openapi.json", timeout=30).json()["paths"]


def name():
    return f"client-{uuid.uuid4()}"


def test_keys(client):
    alias = name()
    made = client.keys.generate(models=["gpt-4o"], key_alias=alias, duration="1h", aliases={"mine": "gpt-4o"})
    key = made["key"]
    assert key.startswith("sk-") and made["expires"] and made["models"] == ["gpt-4o"]
    assert client.keys.info(key)["info"]["aliases"] == {"mine": "gpt-4o"}
    listed = client.keys.list(key_alias=alias, return_full_object=True)
    assert [entry["key_alias"] for entry in listed["keys"]] == [alias] and listed["total_count"] == 1
    client.keys.update(key=key, models=["gpt-4o", "gpt-3.5-turbo-instruct"])
    assert client.keys.info(key)["info"]["models"] == ["gpt-4o", "gpt-3.5-turbo-instruct"]
    other = client.keys.generate(key_alias=name())["key_alias"]
    assert client.keys.delete(keys=[key], key_aliases=[other])["deleted_keys"] == [key, other]
    with pytest.raises(requests.exceptions.HTTPError) as gone:
        client.keys.info(key)
    assert gone.value.response.status_code == 404


def test_keys_of_others_are_refused(client):
    user = Client(URL, client.keys.generate(user_id=name())["key"])
    with pytest.raises(requests.exceptions.HTTPError):
        user.keys.list(user_id="somebody-else")
    with pytest.raises(UnauthorizedError):
        Client(URL, "sk-no-such-key").keys.list()


def test_users(users):
    mail = f"{name()}@example.com"
    made = users.create_user({"user_email": mail, "user_role": "internal_user", "max_budget": 3})
    user = made["user_id"]
    assert made["key"].startswith("sk-")
    told = users.get_user(user)
    assert told["user_info"]["user_email"] == mail and len(told["keys"]) == 1
    assert [entry["user_id"] for entry in users.list_users({"user_email": mail})] == [user]
    assert users.delete_user([user]) == 1
    with pytest.raises(NotFoundError):
        users.get_user(user)


def test_teams(client):
    team = client.http.request("POST", "/team/new", json={"team_alias": name()})["team_id"]
    assert team in [entry["team_id"] for entry in client.teams.list()]
    page = client.teams.list_v2(team_id=team)
    assert [entry["team_id"] for entry in page["teams"]] == [team]
    assert isinstance(client.teams.get_available(), list)
    key = client.keys.generate(team_id=team, key_alias=name())
    assert key["team_id"] == team
    assert client.http.request("POST", "/team/delete", json={"team_ids": [team]})


def test_models(client):
    assert "gpt-4o" in [entry["id"] for entry in client.models.list()]
    info = client.models.info()
    assert "gpt-4o" in [entry["model_name"] for entry in info]
    model = next(entry for entry in info if entry["model_name"] == "gpt-4o")["model_info"]["id"]
    assert client.models.get(model_id=model)["model_name"] == "gpt-4o"


if "/model/new" in PATHS:

    def test_models_in_the_database(client):
        alias = name()
        deployment = next(entry for entry in client.models.info() if entry["model_name"] == "gpt-4o")
        base = deployment["litellm_params"]["api_base"]
        made = client.models.new(alias, {"model": "openai/gpt-4o", "api_base": base, "api_key": "sk-x"}, {"mode": "chat"})
        model = made["model_info"]["id"]
        assert client.models.get(model_name=alias)["model_info"]["id"] == model
        client.models.update(model, {"model": "openai/gpt-4o", "api_base": base, "rpm": 9})
        client.models.delete(model)
        assert alias not in [entry["model_name"] for entry in client.models.info()]

    def test_credentials(client):
        credential = name()
        client.credentials.create(credential, {"custom_llm_provider": "openai"}, {"api_key": "sk-secret-1234567"})
        listed = client.credentials.list()
        assert credential in [entry["credential_name"] for entry in listed["credentials"]]
        assert "sk-secret-1234567" not in json.dumps(listed)
        assert client.credentials.get(credential)["credential_name"] == credential
        client.credentials.delete(credential)
        assert credential not in [entry["credential_name"] for entry in client.credentials.list()["credentials"]]


def test_chat(client):
    answer = client.chat.completions("gpt-4o", [{"role": "user", "content": "Hello!"}])
    assert answer["choices"][0]["message"]["content"]
    chunks = list(client.chat.completions_stream("gpt-4o", [{"role": "user", "content": "Hello!"}]))
    assert any(chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk.get("choices"))


def test_http(client):
    assert client.http.request("GET", "/health/liveliness") == "I'm alive!"
    with pytest.raises(requests.exceptions.HTTPError):
        client.http.request("GET", "/nothing")


def cli(*args):
    """The command line, within this process: starting Python and LiteLLM takes seconds each time."""
    done = CliRunner().invoke(command_line, args, env={"COLUMNS": "400"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_the_command_line():
    alias = name()
    assert "sk-" in cli("keys", "generate", "--key-alias", alias, "--models", "gpt-4o")
    assert alias in cli("keys", "list", "--key-alias", alias)
    assert "gpt-4o" in cli("models", "list")
    mail = f"{name()}@example.com"
    user = json.loads(cli("users", "create", "--email", mail))["user_id"]
    assert user in cli("users", "get", "--id", user)
    assert "deleted" in cli("keys", "delete", "--key-aliases", alias).lower()
    assert "alive" in cli("http", "request", "GET", "/health/liveliness")
    cli("users", "delete", user)
    assert cli("teams", "list") is not None
