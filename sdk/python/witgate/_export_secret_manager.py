"""The exports of a secret manager."""

import json

from wit_world.exports import secret_manager as wit

from . import secret_manager
from ._export import Single, guarded

single = Single(secret_manager.SecretManager)


class SecretManager:
    """`witgate:secret-manager/secret-manager`"""

    @guarded
    def init(self):
        single.get()

    @guarded
    def read(self, name, options):
        found = secret_manager.reading(single.get().read(name, json.loads(options)))
        return wit.Reading(found.value, found.keep_s)

    @guarded
    def write(self, secret, options):
        single.get().write(_secret(secret), json.loads(options))

    @guarded
    def delete(self, name, recovery_days, options):
        single.get().delete(name, recovery_days, json.loads(options))

    @guarded
    def rotate(self, current, new, options):
        single.get().rotate(current, _secret(new), json.loads(options))

    @guarded
    def health(self):
        single.get().health()


def _secret(wire):
    return secret_manager.Secret(wire.name, wire.value, wire.description, dict(wire.tags))
