from urllib.parse import quote

from witgate import Failed, SecretManager, Unavailable, http, secrets


class Plugin(SecretManager):
    def read(self, name, options):
        response = http.get(f"{self.settings['url'].rstrip('/')}/{quote(name)}", auth=secrets.bearer("token"))
        if response.status == 404:
            return None  # there is no such secret: the gateway looks into its environment
        if response.is_worth_a_retry:
            raise Unavailable(f"the keeper answered with status {response.status}")
        if not response.ok:
            raise Failed(f"the keeper answered with status {response.status}; may the token read {name!r}?")
        return response.text
