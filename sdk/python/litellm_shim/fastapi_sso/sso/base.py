"""`OpenID`, which LiteLLM hands to `custom_sso`."""

from witgate_litellm.objects import Record


class OpenID(Record):
    """Who it is, as the identity provider says. Members that are not given are None."""

    def __str__(self):
        return " ".join(f"{name}={value!r}" for name, value in self.items())
