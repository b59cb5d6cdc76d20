"""A CustomSecretManager as LiteLLM has it: keys are in a small service of our own."""

import os

import httpx
from litellm.integrations.custom_secret_manager import CustomSecretManager

KEEPER_URL = os.environ["KEEPER_URL"]


class Keeper(CustomSecretManager):
    def __init__(self):
        super().__init__(secret_manager_name="team_keeper")

    def sync_read_secret(self, secret_name, optional_params=None, timeout=None):
        response = httpx.get(f"{KEEPER_URL}/{secret_name}", headers={"x-token": os.environ["KEEPER_TOKEN"]}, timeout=5)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return response.json()["value"]

    async def async_read_secret(self, secret_name, optional_params=None, timeout=None):
        return self.sync_read_secret(secret_name, optional_params, timeout)

    async def async_write_secret(
        self, secret_name, secret_value, description=None, optional_params=None, timeout=None, tags=None
    ):
        async with httpx.AsyncClient() as client:
            response = await client.put(
                f"{KEEPER_URL}/{secret_name}", json={"value": secret_value}, headers={"x-token": os.environ["KEEPER_TOKEN"]}
            )
        response.raise_for_status()
        return {"status": "ok"}
