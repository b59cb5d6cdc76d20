from witgate import KeyPolicy, allow_key, deny_key


class Plugin(KeyPolicy):
    def judge(self, request):
        if request.action == "generate" and not request.body.get("team_id"):
            return deny_key("name the team that the key is for (team_id)")
        most = self.settings["max_models"]
        if len(request.body.get("models") or []) > most:
            return deny_key(f"a key may name {most} models at most")
        return allow_key()
