"""The invariants: what was said on both sides of Postern in one session, held against each other.

judge() returns sentences, each a finding. It knows nothing of Postern's code; policy.py has what
Postern may answer by itself.
"""

import alignment
import judge_messages
import message
import policy

#: Own error replies since the last accepted message after which Postern ends a session (`errors`
#: in section limits).
ERRORS_LIMIT = 10
#: Faults of a backend (plan.py) after which nothing more comes from it that could be passed on.
LOSSES = {"hang", "close", "reset", "garbage", "long", "too_good", "odd_go"}


def _cleaned(lines):
    """A backend's lines as the client has to hear them: without the code, control characters
    replaced."""
    def clean(byte):
        return ord("?") if (byte < 32 and byte != 9) or byte == 127 else byte
    return [bytes(map(clean, line[4:])) for line in lines]


class Judge:
    def __init__(self, session):
        self.session = session
        self.script, self.backend = session.script, session.backend
        self.conversation = session.client.conversation
        self.findings = []
        self.aligned = {}
        self.exchanges = []     # those of the relay
        self.reasons = set()    # why the session may have ended

    def found(self, text):
        self.findings.append(text)

    # the client's side alone

    def _judge_form(self):
        client = self.session.client
        if client.reader.fault:
            self.found(client.reader.fault)
        is_excused = client.left or (self.backend and (
            self._has_fault("half", "two") or (self._has_fault("early") and client.finished)))
        if client.reader.partial and not is_excused:
            self.found(f"a reply that was never completed: {client.reader.partial}")
        for reply in self.conversation.unsolicited:
            if reply.code != 421:
                self.found(f"a reply to nothing: {reply}")
        replies = self.conversation.replies
        for place, reply in enumerate(replies):
            if reply.code == 421 and place + 1 < len(replies):
                self.found(f"a reply after a 421: {reply} and then {replies[place + 1]}")
                break

    def _has_fault(self, *kinds):
        return self.backend.fault_done and self.script.plan.fault.kind in kinds

    def _find_relay(self):
        """Where the relay's commands begin; None: it was never reached."""
        greeted = False
        for place, exchange in enumerate(self.conversation.exchanges):
            code = exchange.reply.code if exchange.reply else 0
            if self.script.login and exchange.verb == "AUTH":
                is_unheard = self.session.client.left and code == 0
                return place + 1 if code == 235 or is_unheard else None
            if not self.script.login and exchange.verb == "MAIL" and greeted:
                return place
            if not self.script.login and exchange.verb == "BDAT":
                self.reasons.add("BDAT")
                return None
            greeted |= exchange.verb in ("EHLO", "HELO") and code == 250
            if exchange.reply and not exchange.reply.is_own:
                self.found(f"the backend's reply before the relay: {exchange}")
        return None

    # replies

    def _judge_marked(self, exchange):
        """A reply of the backend's: is it the one to this command, and whole?"""
        reply, slots = exchange.reply, self.backend.slots
        if len(reply.marks) != 1 or min(reply.marks)[0] != self.script.number or \
                reply.slot >= len(slots):
            self.found(f"a reply made of several, or of another session: {exchange}")
            return
        slot = slots[reply.slot]
        if slot.lines and reply.texts != _cleaned(slot.lines):
            self.found(f"the reply was changed: {exchange}, the backend said {slot.lines}")
        if self.backend.shifted is not None and reply.slot >= self.backend.shifted:
            return
        wanted = self._seen_of(exchange)
        if slot.seen is not wanted:
            self.found(f"the reply to another command: {exchange} got the one to {slot.seen}")

    def _seen_of(self, exchange):
        if exchange.kind != "message":
            return self.aligned.get(exchange)
        for data, seen in self.aligned.items():
            if data.data is exchange:
                return seen
        return None

    def _judge_order(self):
        last = -1
        for exchange in self.exchanges:
            slot = exchange.reply.slot if exchange.reply else None
            if slot is not None:
                if slot <= last:
                    self.found(f"replies out of order at {exchange}")
                last = slot

    def _judge_verdicts(self, whole):
        """No 250 for a message but the backend's own, for exactly that one."""
        for exchange in self.exchanges:
            is_verdict = exchange.kind == "message" or (exchange.verb == "BDAT" and exchange.last)
            if not is_verdict or not exchange.reply or exchange.reply.code // 100 != 2:
                continue
            if exchange.verb == "BDAT" and self._may_be_shifted():
                continue
            seen, slot = self._seen_of(exchange), exchange.reply.slot
            if slot is None or not seen or seen.body_slot != slot or seen not in whole:
                self.found(f"a false acceptance of a message: {exchange}, "
                           f"which the backend has as {seen}")

    def _may_be_shifted(self):
        """Nobody can see a reply too many while others are outstanding, and the reply to a chunk
        looks like any other (that to DATA does not)."""
        surplus_seen = self.script.is_polite and self._has_fault("surplus")
        return self.backend.shifted is not None and not surplus_seen

    def _is_data_refused_by_another(self):
        """Did a reply too many refuse a DATA that was not polite? What such a client sends of its
        message without waiting is read as commands, the next DATA in it, too. One that waits is
        safe: the 354 that comes then is one that nobody asked for."""
        if not self._may_be_shifted():
            return False
        slots = [each.reply.slot for each in self.exchanges if each.verb == "DATA" and each.reply]
        seen = self.backend.slots
        return any(each is not None and each < len(seen) and seen[each].verb != "DATA"
                   for each in slots)

    # what Postern answered by itself

    def _judge_policies(self):
        shifted = self.backend.shifted is not None
        state = policy.Transaction()
        errors = most = 0
        for exchange in self.exchanges:
            seen, reply = self.aligned.get(exchange), exchange.reply
            if exchange.verb == "BDAT" and exchange.kind == "line":
                self._judge_chunk(exchange, seen, state, shifted)
            elif exchange.kind != "message":
                self._judge_line(exchange, seen)
            if reply and reply.is_own and reply.code >= 400 and not seen and \
                    not policy.is_repeated_login(exchange, self.script.door):
                errors += 1
                most = max(most, errors)
            if reply and reply.code // 100 == 2 and \
                    (exchange.kind == "message" or exchange.last):
                errors = 0
            if reply and (seen or exchange.kind == "message"):
                state.hear(exchange)
                self._note_reasons(exchange, seen)
            if exchange.verb in policy.FOREIGN or exchange.verb == "QUIT":
                self.reasons.add(exchange.verb)
        if most >= ERRORS_LIMIT:
            self.reasons.add("errors")

    def _judge_line(self, exchange, seen):
        may_pass, codes = policy.judge(exchange, self.script.door, self.script.login)
        reply = exchange.reply
        if seen and not may_pass:
            self.found(f"passed on what had to be answered here: {exchange}")
        if not reply or not reply.is_own or reply.code == 421:
            return
        if exchange.verb == "QUIT" and reply.code == 221 and self.backend.fault_done:
            return  # the backend was lost before it answered
        if exchange.verb == "EHLO" and seen and reply.code == 250:
            self._judge_offer(exchange, seen)
        elif seen:
            self.found(f"passed on, and answered here: {exchange}")
        elif reply.code not in codes:
            self.found(f"answered here in place of the backend: {exchange}")

    def _judge_offer(self, exchange, seen):
        heard = {}
        for text in exchange.reply.texts[1:]:
            word, _, parameters = text.decode("latin-1").partition(" ")
            heard[word] = parameters
        offers = dict(self.backend.offers).get(seen.slot)
        if self.backend.shifted is None and offers is not None:
            wanted = policy.offered(offers, self.script.door, self.script.login)
            if heard != wanted:
                self.found(f"EHLO offers what the backend does not: {heard}, not {wanted}")
        if set(heard) - set(policy.CARRIED):
            self.found(f"EHLO shows what it must not: {heard}")

    def _judge_chunk(self, exchange, seen, state, shifted):
        if exchange.size is None or not self._offers_chunks(exchange):
            self.reasons.add("BDAT")
            if seen and exchange.size is None:
                self.found(f"BDAT that cannot be read was passed on: {exchange}")
            return
        is_bad = not state.binary and message.is_bare(state.content + exchange.raw)
        if is_bad:
            self.reasons.add("bare chunk")
        if shifted or not exchange.reply:
            return
        if seen and not state.may_have_chunks:
            self.found(f"a chunk without an accepted recipient was passed on: {exchange}")
        refused_here = exchange.reply.is_own and exchange.reply.code != 421
        if refused_here and not seen and state.may_have_chunks and not is_bad:
            self.found(f"a chunk was refused for no reason: {exchange}")
        if refused_here and not state.may_have_chunks and not is_bad and \
                exchange.reply.code != 503:
            self.found(f"not 503 for a chunk without a recipient: {exchange}")

    def _offers_chunks(self, exchange):
        """Did the backend offer CHUNKING when this command came?"""
        keywords = self.backend.offers[0][1]
        for other in self.exchanges:
            if other is exchange:
                break
            seen = self.aligned.get(other)
            if other.verb == "EHLO" and seen and other.reply and other.reply.code == 250:
                keywords = dict(self.backend.offers).get(seen.slot, ())
            elif other.verb == "HELO" and other.reply and other.reply.code // 100 == 2:
                keywords = ()
        return "CHUNKING" in policy.offered(keywords, self.script.door, self.script.login)

    def _note_reasons(self, exchange, seen):
        code = exchange.reply.code
        if exchange.verb == "BDAT" and code // 100 != 2:
            self.reasons.add("refused chunk")
        if exchange.verb == "DATA" and exchange.kind == "line" and \
                (code // 100 == 2 or (code // 100 == 3 and code != 354)):
            self.found(f"not an answer to DATA: {exchange}")

    # the end

    def _find_reasons(self):
        client, door = self.session.client, self.script.door
        if self.backend.fault_done:
            self.reasons.add("fault")
        if client.finished:
            self.reasons.add("client")
        if door.bare == "reject" and any(each.kind == "message" and message.is_bare(each.raw)
                                         for each in self.exchanges):
            self.reasons.add("bare message")

    def _judge_end(self):
        self._find_reasons()
        if self.session.client.left:
            return
        unanswered = [each for each in self.conversation.exchanges
                      if not each.reply and each.whole]
        serious = self.reasons - {"QUIT", "client"}
        if unanswered and not serious:
            self.found(f"commands without an answer: {len(unanswered)}, the first is "
                       f"{unanswered[0]}")
        left = self.script.steps[self.session.client.steps_done:]
        is_cut = any(step[0] in ("send", "message") for step in left)
        if is_cut and not serious and "QUIT" not in self.reasons:
            self.found("the session ended for no reason")
        last = self.conversation.replies[-1] if self.conversation.replies else None
        if last and last.code == 421 and last.is_own and not serious:
            self.found(f"a 421 for no reason: {last}")

    def _judge_heard(self):
        """A backend's refusal in the middle, and its 421, are the client's to hear."""
        client, fault = self.session.client, self.script.plan.fault
        if client.left or not self.backend.fault_done or self.reasons & {"bare chunk",
                                                                         "bare message"}:
            return
        heard = {reply.slot for reply in self.conversation.replies}
        if fault.kind == "early" and fault.code not in (250, 354):
            gave_up = client.finished and self.conversation.open_exchange
            if self.backend.early.body_slot not in heard and not gave_up:
                self.found("the client does not hear an early refusal")
            if fault.gated and any(self._seen_of(each) is self.backend.early
                                   for each in client.late):
                self.found("an early refusal comes late")
        last = self.conversation.replies[-1] if self.conversation.replies else None
        is_farewell = "QUIT" in self.reasons and last.is_own and last.code == 221
        if fault.kind in LOSSES and self.reasons <= {"fault", "QUIT"} and last.code != 421 and \
                not is_farewell and not client.reader.partial:
            self.found(f"the client does not hear that the backend is lost: {last}")
        if fault.kind == "bye" and not any(self.backend.slots[slot].code == 421 for slot in heard
                                           if slot is not None and slot < len(self.backend.slots)):
            self.found("the client does not hear the backend's 421")

    def _judge_what_must_end(self):
        """After a refused chunk or an early refusal the session ends."""
        over = None
        for exchange in self.exchanges:
            if over and exchange.reply:
                self.found(f"the session goes on after a refusal in a message: {over}: {exchange}")
                return
            seen = self._seen_of(exchange)
            if not exchange.reply:
                continue
            if exchange.reply.is_own and exchange.reply.code == 521:
                over = exchange
            elif not seen:
                continue
            elif exchange.verb == "BDAT" and exchange.reply.code // 100 != 2:
                over = exchange
            elif seen is self.backend.early and exchange.kind == "message" and \
                    self.script.plan.fault.gated:
                over = exchange

    def _judge_commands(self):
        """What is said about the client and to whom, in the commands at the backend."""
        door = self.script.door
        for seen in self.backend.seen:
            if door.role == "mx" and seen.verb == "RCPT" and \
                    not policy.OUR_RECIPIENT.match(seen.line):
                self.found(f"a recipient that is not ours: {seen.line!r}")
            if seen.verb == "MAIL":
                self._judge_login(seen)

    def _judge_login(self, seen):
        own, line = self.session.own_auth, seen.line
        if own and line.endswith(own):
            line = line[:-len(own)]
        elif own:
            self.found(f"MAIL without the login: {seen.line!r}")
        if b"AUTH=" in line.upper():
            self.found(f"the client says who it is: {seen.line!r}")

    def _judge_short(self, start):
        """A session that never came to the relay."""
        if self.backend and self.backend.seen:
            self.found("the backend got commands that the client never said")
        if self.backend and self.backend.refused_opening:
            self._judge_refusal(start)
        wants = self.script.login or start is not None
        errors = sum(bool(each.reply) and each.reply.is_own and each.reply.code >= 400
                     for each in self.conversation.exchanges)
        is_excused = self.script.plan.opening or self.session.client.finished or \
            errors >= ERRORS_LIMIT or "BDAT" in self.reasons
        if wants and not is_excused:
            self.found(f"the session never began: {self.conversation.exchanges[-1:]}")

    def _judge_refusal(self, start):
        """The backend's own refusal of the session is all that the client hears after AUTH."""
        step, code = self.script.plan.opening
        is_told = code in (421, 450, 550) and (step, code) != ("XCLIENT", 550)
        auth = next((each for each in self.conversation.exchanges if each.verb == "AUTH"), None)
        if self.script.login and auth and auth.reply and \
                auth.reply.code != (235 if is_told else 454):
            self.found(f"not what AUTH is answered with before a refusal: {auth}")
        for exchange in self.conversation.exchanges[start:] if start is not None else ():
            own = {421} | ({221} if exchange.verb == "QUIT" else set()) | \
                ({500} if exchange.kind == "long" else set())
            reply = exchange.reply
            is_right = not reply or reply.code in own or (
                is_told and reply.code == code and reply.texts == [b"4.7.0 Not for you"])
            if not is_right:
                self.found(f"not the backend's refusal: {exchange}")

    def _align(self, start):
        """Finds what each command at the backend was; returns one that was none, or None."""
        while True:
            self.exchanges = self.conversation.exchanges[start:]
            found = alignment.Alignment(self.exchanges, self.backend, self.session.own_auth,
                                        self.script.door.trace)
            self.aligned, stray = found.aligned, found.stray
            stuck = self.conversation.stuck
            if not stuck or not self.session.client.left:
                return stray
            seen = self.aligned.get(stuck)
            self.conversation.assume(seen is not None and seen.body is not None)

    def run(self):
        self._judge_form()
        start = self._find_relay()
        while start is None and self.session.client.left and self.conversation.stuck:
            self.conversation.assume(False)  # before MAIL, DATA was refused
            start = self._find_relay()
        if start is None or not self.backend or self.backend.refused_opening:
            self._judge_short(start)
            return self.findings
        stray = self._align(start)
        if stray and not self._may_be_shifted():
            self.found(f"the backend read a command that the client did not say: {stray}")
        self._judge_commands()
        for exchange in self.exchanges:
            if exchange.reply and not exchange.reply.is_own:
                self._judge_marked(exchange)
        self._judge_order()
        if not self._is_data_refused_by_another():
            self._judge_verdicts(judge_messages.judge(self.session, self.aligned, self.found))
        self._judge_policies()
        self._judge_end()
        self._judge_heard()
        self._judge_what_must_end()
        return self.findings


def judge(session):
    """The findings of a session that has ended: sentences."""
    findings = Judge(session).run()
    if session.backend:
        findings += session.backend.findings
    return findings + session.client.findings + session.findings
