"""`CustomLogger`, with hooks that do nothing."""


class CustomLogger:
    """The base of loggers. A subclass writes the hooks it wants."""

    def __init__(self, *_, **__):
        pass

    def log_pre_api_call(self, model, messages, kwargs):
        pass

    def log_post_api_call(self, kwargs, response_obj, start_time, end_time):
        pass

    def log_stream_event(self, kwargs, response_obj, start_time, end_time):
        pass

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        pass

    def log_failure_event(self, kwargs, response_obj, start_time, end_time):
        pass

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        pass

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        pass

    async def async_log_stream_event(self, kwargs, response_obj, start_time, end_time):
        pass

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        pass

    async def async_moderation_hook(self, data, user_api_key_dict, call_type):
        pass

    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        pass

    async def async_post_call_failure_hook(self, request_data, original_exception, user_api_key_dict, traceback_str=None):
        pass

    async def async_pre_routing_hook(self, model, request_kwargs, messages=None, input=None, specific_deployment=False):
        return None

    async def async_filter_deployments(
        self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None
    ):
        return healthy_deployments

    async def async_pre_call_deployment_hook(self, kwargs, call_type):
        return None

    async def async_post_call_response_headers_hook(
        self, data, user_api_key_dict, response, request_headers=None, litellm_call_info=None
    ):
        return None

    async def async_post_call_streaming_hook(self, user_api_key_dict, response):
        pass

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        async for piece in response:
            yield piece
