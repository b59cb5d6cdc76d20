"""An event loop for a place without threads, sockets and signals.

The host's functions return their results at once, so coroutines only ever wait for each other and for timers.
"""

import asyncio
import time


class _NoSelector:
    """What the loop waits with: there is nothing to wait for but time."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("this coroutine waits for something that cannot happen in a plugin")
        if timeout > 0:
            time.sleep(timeout)
        return ()

    def close(self):
        pass


class Loop(asyncio.BaseEventLoop):
    """Runs coroutines to their end; tasks they leave behind run to theirs."""

    def __init__(self):
        super().__init__()
        self._selector = _NoSelector()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    def run_in_executor(self, executor, function, *arguments):
        """There are no threads: the function runs now."""
        future = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def run_until_idle(self):
        """Runs what can run now, without waiting."""
        while self._ready or (self._scheduled and self._scheduled[0]._when <= self.time()):
            self.call_soon(self.stop)
            self.run_forever()


_loop = None


def loop():
    """The one loop of this instance."""
    global _loop
    if _loop is None:
        _loop = Loop()
        asyncio.set_event_loop(_loop)
    return _loop


def run(result):
    """The value of a coroutine, or the value itself."""
    if not asyncio.iscoroutine(result):
        return result
    own = loop()
    # Streams under inspection wait for their next piece meanwhile.
    others = asyncio.all_tasks(own)

    async def whole():
        value = await result
        left = asyncio.all_tasks(own) - others - {asyncio.current_task(own)}
        # Nothing runs between two calls: what was started in the background is done before this one ends.
        await asyncio.gather(*left, return_exceptions=True)
        return value

    return own.run_until_complete(whole())
