"""custom_key_generate as LiteLLM has it: keys belong to a team, live at most 30 days, and have a name to find them by."""

import re

from litellm.proxy._types import GenerateKeyRequest

LONGEST_DAYS = 30


async def custom_generate_key_fn(data: GenerateKeyRequest) -> dict:
    body = data.json()
    if not body.get("team_id"):
        return {"decision": False, "message": "This violates LiteLLM Proxy Rules. No team id provided."}
    days = re.fullmatch(r"(\d+)d", body.get("duration") or "")
    if days is None or int(days.group(1)) > LONGEST_DAYS:
        return {"decision": False, "message": f"give a duration of at most {LONGEST_DAYS}d"}
    if data.key_alias is None:
        data.key_alias = f"{data.team_id}-{len(data.models or [])}-models"
    return {"decision": True}
