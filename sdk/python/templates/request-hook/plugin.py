from witgate import RequestHook, refuse, set_value


class Plugin(RequestHook):
    def pre_call(self, call, request):
        if call.model != self.settings["old"]:
            return None
        if not self.settings["new"]:
            return refuse(f"{call.model} is no more.", status=404, param="model")
        return [set_value("/model", self.settings["new"])]
