"""What routing hooks return."""

from witgate_litellm.objects import Record


class PreRoutingHookResponse(Record):
    """Another model, and other messages, for a request."""

    def __init__(self, given=(), **named):
        super().__init__(given, **named)


class Deployment(Record):
    """An entry of `model_list`."""
