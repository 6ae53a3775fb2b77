"""Work in threads beside an event loop: told of, ended, bounded."""

import asyncio
import threading

import pytest

from pocketlm.errors import SearchError
from pocketlm.serve.aside import StoppedError, Threads
from pocketlm.serve.errors import OverloadedError


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_news_come_in_order_and_then_there_is_a_result():
    def work(tell):
        for number in range(50):
            tell(number)
        return "done"

    async def watch():
        async with Threads(1, 0).aside(work) as aside:
            news = [each async for each in aside]
            return news, aside.result

    assert run(watch()) == (list(range(50)), "done")


def test_what_makes_it_fail_is_raised_after_its_news():
    def work(tell):
        tell("searching")
        raise SearchError("the index is damaged")

    async def watch():
        news = []
        async with Threads(1, 0).aside(work) as aside:
            with pytest.raises(SearchError, match="damaged"):
                await _all(aside, news)
        return news

    assert run(watch()) == ["searching"]


async def _all(aside, news):
    async for each in aside:
        news.append(each)


class Endless:
    """Work that tells until it is ended, and what it was ended by."""

    def __init__(self):
        self.ended: BaseException | None = None
        self.may_go_on = threading.Event()

    def __call__(self, tell):
        try:
            while True:
                tell("still here")
                self.may_go_on.wait()
        except BaseException as error:
            self.ended = error
            raise


def test_leaving_the_block_ends_it_and_waits_for_that():
    work = Endless()
    work.may_go_on.set()

    async def watch():
        async with Threads(1, 0).aside(work) as aside:
            assert await anext(aiter(aside)) == "still here"
        assert isinstance(work.ended, StoppedError)

    run(watch())


def test_it_is_waited_for_whoever_is_in_a_hurry():
    """What is lent to a thread must stay until the thread is done with it."""
    work = Endless()

    async def watch():
        async with Threads(1, 0).aside(work) as aside:
            await anext(aiter(aside))

    async def hurry():
        watching = asyncio.ensure_future(watch())
        for _ in range(3):
            await asyncio.sleep(0.05)
            watching.cancel()
        assert not watching.done()
        work.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert isinstance(work.ended, StoppedError)

    run(hurry())


def test_so_many_at_a_time_and_no_more_wait():
    work = Endless()
    threads = Threads(1, 1)

    async def watch():
        async with threads.aside(work) as first, threads.aside(work):
            await anext(aiter(first))
            with pytest.raises(OverloadedError) as error:
                async with threads.aside(work):
                    pass
            assert error.value.status == 429
            work.may_go_on.set()
        async with threads.aside(lambda tell: 7) as third:
            assert [each async for each in third] == []
            assert third.result == 7

    run(watch())


def test_when_the_server_ends_all_ends():
    work = Endless()
    threads = Threads(1, 1)

    async def watch():
        async with threads.aside(work) as first, threads.aside(work) as second:
            await anext(aiter(first))
            closing = asyncio.to_thread(threads.close)
            threads.halt()
            work.may_go_on.set()
            await closing
            for each in (first, second):
                with pytest.raises(OverloadedError, match="shutting down"):
                    await _all(each, [])
        with pytest.raises(OverloadedError):
            async with threads.aside(work):
                pass

    run(watch())
