"""What is wrong with what the clients were told, and with the processes afterwards."""

from support import processes, wait

#: A process may have grown by so much: a new one is not the same to the page.
_ROOM, _ROOM_BYTES = 1.10, 1 << 20


def _of_session(session, met):
    """A finding, or None."""
    if session.refusal and "outage" not in met:
        return f"refused without an outage: {session.describe()}"
    if session.cut and not {"outage", "kill"} & met:
        return f"cut without a cause: {session.describe()}"
    return None


def of_mail(sessions, accepted):
    """Every message that a client was told is safe has arrived once, and no other one."""
    for session in sessions:
        arrived = accepted[session.number]
        if session.acknowledged and arrived == 0:
            yield f"lost: message {session.number}"
        elif arrived > 1:
            yield f"doubled: message {session.number}, {arrived} times"
        elif arrived and session.refusal and not session.acknowledged:
            yield f"to be sent again, although it has arrived: {session.describe()}"


def of_sessions(visitors):
    found = (_of_session(each, visitors.met(each)) for each in visitors.sessions)
    return [each for each in found if each]


class House:
    """The processes when nobody is there: how many of each, their descriptors and memory."""

    ROLES = ("master", "reactor", "auth worker")

    def __init__(self, postern):
        self.teams = {role: postern.pids(role) for role in self.ROLES}
        self.descriptors = self._most(lambda pid: len(processes.descriptors(pid)))
        self.bytes = self._most(processes.resident_bytes)
        self.zombies = len(processes.zombies(postern.pid))

    def _most(self, measure):
        return {role: max(map(measure, pids), default=0) for role, pids in self.teams.items()}

    def describe(self):
        return ", ".join(f"{len(self.teams[role])} {role}: {self.descriptors[role]} descriptors, "
                         f"{self.bytes[role] / 1e6:.1f} MB" for role in self.ROLES)

    def worse_than(self, before):
        """Findings."""
        found = [f"{self.zombies} zombies"] if self.zombies > before.zombies else []
        for role in self.ROLES:
            if len(self.teams[role]) != len(before.teams[role]):
                found.append(f"{len(self.teams[role])} × {role}, before {len(before.teams[role])}")
            if self.descriptors[role] > before.descriptors[role]:
                found.append(f"{role}: {self.descriptors[role]} descriptors, "
                             f"before {before.descriptors[role]}")
            if self.bytes[role] > before.bytes[role] * _ROOM + _ROOM_BYTES:
                found.append(f"{role}: {self.bytes[role] / 1e6:.1f} MB, "
                             f"before {before.bytes[role] / 1e6:.1f} MB")
        return found


def of_house(postern, before):
    """Old generations and new workers have a while to go and to come."""
    try:
        wait.until(lambda: not House(postern).worse_than(before), "a house as before", wait.PATIENCE * 2)
        return []
    except wait.Lost:
        return House(postern).worse_than(before)
