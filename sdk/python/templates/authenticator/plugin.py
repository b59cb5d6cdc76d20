import hmac

from witgate import Authenticator, Identity, decline, deny


class Plugin(Authenticator):
    def authenticate(self, request):
        if not request.api_key.startswith("tok-"):
            return decline()  # not one of ours: the gateway decides
        for user, token in self.settings["users"].items():
            if hmac.compare_digest(token.encode(), request.api_key.encode()):
                return Identity(user_id=user)
        return deny("this token is not known")
