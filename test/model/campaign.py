"""Runs many sessions at once, judges each, and watches Postern's processes meanwhile."""

import asyncio
import contextlib
import ssl
import time

import alignment
import judge
import script as scripts
import wire
from client import Client, Lost
from opening import Opening

#: Seconds between two well-behaved sessions, and how long one may take.
STEADY_EVERY_S = 0.3
STEADY_LIMIT_S = 60
#: Seconds after which a backend's connection counts as left open.
LEFT_OPEN_S = 40
#: Seconds that a session may take; only a fault uses them up.
SESSION_LIMIT_S = 300
#: Numbers of well-behaved sessions begin here.
STEADY_FIRST = 100_000_000


class Session:
    """One client with its backend."""

    def __init__(self, script):
        self.script = script
        self.client = Client(script)
        self.backend = None
        self.client.backend = lambda: self.backend
        self.findings = []
        self.own_auth = b""
        if script.door.identity == "auth-param" and script.login:
            self.own_auth = b" AUTH=" + alignment.xtext(script.login)

    @property
    def address(self):
        return self.client.address

    def describe(self):
        """Everything about it, for somebody who looks for the cause."""
        lines = [str(self.script), "  what the client said and heard:"]
        lines += [f"    {each}" for each in self.client.conversation.exchanges]
        lines += [f"    to nothing: {each}" for each in self.client.conversation.unsolicited]
        lines.append(f"    end: {self.client.ended}, rest {self.client.reader.partial}")
        if self.backend:
            lines.append("  what the backend read and answered:")
            lines += [f"    {each}" for each in self.backend.seen]
            lines += [f"    slot {i}: {each.verb} {each.lines}"
                      for i, each in enumerate(self.backend.slots)]
            lines.append(f"    end: {self.backend.ended}, shifted from {self.backend.shifted}")
        return "\n".join(lines)


class Campaign:
    """`report(session or None, findings)` is called for each session that has findings."""

    def __init__(self, world, seed, report):
        self._world, self._seed, self._report = world, seed, report
        self._sessions = {}       # by number, while they run
        self._tasks = set()
        self._workers = []
        self._context = wire.server_context(world.certificates.certificate, world.certificates.key)
        self.count = self.steady_count = 0
        self.stopped = self.gave_up = False
        self.verbose = False
        self.coverage = {}

    # backends

    def _find(self, number):
        return self._sessions.get(number)

    async def _accept(self, door):
        loop = asyncio.get_running_loop()
        while True:
            accepted, peer = await loop.sock_accept(door.listener)
            accepted.setblocking(False)
            opening = Opening(wire.Stream(accepted), door, peer, self._find, self._context)
            self._spawn(opening.run())

    def _spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # sessions

    async def run_session(self, script):
        """One session to its end; returns it with its findings."""
        session = Session(script)
        self._sessions[script.number] = session
        findings = []
        try:
            async with asyncio.timeout(SESSION_LIMIT_S):
                await session.client.connect(lambda: None)
                await session.client.run()
                await self._await_backend(session)
        except TimeoutError:
            findings.append("the session takes too long")
        except (Lost, OSError, ssl.SSLError) as error:
            findings.append(f"no session: {error!r}")
        finally:
            session.client.close()
        del self._sessions[script.number]
        return session, findings or judge.judge(session)

    async def _await_backend(self, session):
        if not session.backend:
            return
        try:
            async with asyncio.timeout(LEFT_OPEN_S):
                await session.backend.finished.wait()
        except TimeoutError:
            session.findings.append("the backend's connection was left open")

    async def _worker(self, numbers):
        for number in numbers:
            if self.stopped:
                return
            script = scripts.generate(self._seed, number, self._world.doors)
            session, findings = await self.run_session(script)
            self.count += 1
            self._note_coverage(session)
            if findings or self.verbose:
                self._report(session, findings)

    def _note_coverage(self, session):
        """How often each kind of thing happened: a run that never got there proves nothing."""
        names = ["sessions"]
        if session.backend:
            names.append("relay")
            names += ["whole message"] * sum(seen.whole for seen in session.backend.seen)
            if session.backend.fault_done:
                names.append(f"fault {session.script.plan.fault.kind}")
        for name in names:
            self.coverage[name] = self.coverage.get(name, 0) + 1

    async def _begin(self, number, door):
        """The first session at a listener: what it opens for good is open then."""
        _, findings = await self.run_session(scripts.steady(number, door))
        if findings:
            self._report(None, [f"the first session at {door.name}: {findings}"])

    async def _steady(self):
        """A well-behaved session now and then, at each listener in turn."""
        number = STEADY_FIRST + len(self._world.doors)
        while True:
            for door in self._world.doors:
                await asyncio.sleep(STEADY_EVERY_S)
                number += 1
                began = time.monotonic()
                session, findings = await self.run_session(scripts.steady(number, door))
                codes = [each.reply.code if each.reply else None
                         for each in session.client.conversation.exchanges]
                if any(code is None or code >= 400 for code in codes):
                    findings.append(f"a well-behaved session was disturbed: {codes}")
                if time.monotonic() - began > STEADY_LIMIT_S:
                    findings.append("a well-behaved session was kept waiting")
                self.steady_count += 1
                if findings:
                    self._report(session, findings)

    async def _watch(self):
        """Ends the run when a process of Postern's dies."""
        while True:
            await asyncio.sleep(1)
            for house in self._world.houses:
                crash = house.crash()
                if crash:
                    under_way = sorted(self._sessions)
                    self._report(None, [f"{crash}\nsessions under way: {under_way}"])
                    self.stopped = True
                    return

    async def run(self, numbers, seconds, width):
        """Sessions by their numbers, until there are no more or the time is over."""
        loop = asyncio.get_running_loop()
        helpers = [asyncio.ensure_future(self._accept(door)) for door in self._world.doors]
        await asyncio.gather(*(self._begin(STEADY_FIRST + i, door)
                               for i, door in enumerate(self._world.doors)))
        descriptors = [house.descriptors() for house in self._world.houses]
        helpers += [asyncio.ensure_future(self._steady()), asyncio.ensure_future(self._watch())]
        if seconds:
            loop.call_later(seconds, self.stop)
        numbers = iter(numbers)
        self._workers = [asyncio.ensure_future(self._worker(numbers)) for _ in range(width)]
        for failure in await asyncio.gather(*self._workers, return_exceptions=True):
            if isinstance(failure, Exception):
                raise failure
        for helper in helpers[-2:]:
            helper.cancel()
        await asyncio.wait(helpers[-2:])
        if not self.gave_up and not any(house.crash() for house in self._world.houses):
            for house, before in zip(self._world.houses, descriptors):
                for finding in await asyncio.to_thread(house.leftovers, before):
                    self._report(None, [finding])
        for helper in helpers:
            helper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(helpers)

    def stop(self):
        """No new sessions."""
        self.stopped = True

    def give_up(self):
        """Enough was found: no session goes on, and nobody looks at what is left over."""
        self.stopped = self.gave_up = True
        for worker in self._workers:
            worker.cancel()
