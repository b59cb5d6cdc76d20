"""Secret managers: LiteLLM's `key_management_system`. They keep what a configuration refers to as `os.environ/NAME`."""

from dataclasses import dataclass, field

from .errors import Failed


@dataclass
class Reading:
    """What the manager says about a name."""

    #: None when there is no such secret.
    value: "str | None"
    #: Seconds the answer may be kept, also that there is none; the gateway's own time when None.
    keep_s: "int | None" = None


@dataclass
class Secret:
    """A secret to be stored."""

    name: str
    value: str = field(repr=False)
    description: "str | None" = None
    tags: dict = field(default_factory=dict)


class SecretManager:
    """Subclass it and write `read`; the others as far as the product has them. `__init__` runs once per instance.

    `options` are the overrides for one secret, by LiteLLM's names in `secret_manager_settings`; normally empty.
    """

    def __init__(self, settings):
        self.settings = settings

    def read(self, name, options):
        """The value (text), a `Reading`, or None when there is no such secret. An exception means that nobody knows."""
        raise NotImplementedError

    def write(self, secret, options):
        """Stores a `Secret`, a new version when there is one of that name."""
        raise Failed(_only_reads(secret.name))

    def delete(self, name, recovery_days, options):
        """Deletes a secret. That there is none is fine."""
        raise Failed(_only_reads(name))

    def rotate(self, current, new, options):
        """Replaces `current` by the `Secret`. As it stands: looks, writes, looks again, deletes the old name."""
        if reading(self.read(current, options)).value is None:
            raise Failed(f"the manager has no secret {current!r}")
        self.write(new, options)
        if reading(self.read(new.name, options)).value != new.value:
            raise Failed(f"{new.name!r} was written, and another value was read")
        if current != new.name:
            self.delete(current, 7, options)

    def health(self):
        """Raises when the manager does not answer or does not take the credentials."""


def reading(answer):
    """What `read` returned as a `Reading`."""
    if isinstance(answer, Reading):
        return answer
    if answer is None or isinstance(answer, str):
        return Reading(answer)
    raise TypeError(f"read returned {type(answer).__name__}; return a text, a Reading or None")


def _only_reads(name):
    return (
        f"{name!r} is left as it is: this secret manager only reads; set "
        "general_settings.key_management_settings.access_mode to read_only"
    )
