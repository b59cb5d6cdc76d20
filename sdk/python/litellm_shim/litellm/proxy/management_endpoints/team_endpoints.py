"""What `custom_sso` files import of LiteLLM's teams."""


def _missing(name):
    async def call(*_, **__):
        raise RuntimeError(f"{name}: the gateway has no teams yet")

    return call


add_new_member = _missing("add_new_member")
team_member_add = _missing("team_member_add")
new_team = _missing("new_team")
