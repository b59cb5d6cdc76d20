from witgate import Router


class Plugin(Router):
    def pick(self, candidates, request):
        idle = [one for one in candidates if one.in_flight < self.settings["max_in_flight"]]
        return min(idle, key=lambda one: one.cost, default=None)
