"""What `custom_sso` files call of LiteLLM's users: reading the one who signs in works, writing is the gateway's own affair."""

from witgate_litellm.sso import known_user


async def user_info(user_id=None, **_):
    """What the gateway knows of the user who signs in; `user_info` in it is None for a new one."""
    return known_user(user_id)


async def new_user(data=None, **_):
    """Not needed: the gateway makes the row of the values that `custom_sso` returns."""
    raise RuntimeError("new_user: the gateway makes the user's row itself, of the values that custom_sso returns")
