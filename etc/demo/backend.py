"""A mail server to try Postern with: it believes XCLIENT, stores to a Maildir, and says whose
mail that was and where it came from.

    python3 backend.py unix:/path/to/socket /path/to/Maildir
    python3 backend.py 127.0.0.1:2625 /path/to/Maildir

It is a demonstration: whoever can connect may say who he is. Never let it listen on a network.
"""

import asyncio
import mailbox
import re
import signal
import sys

SIZE_LIMIT = 50_000_000
LINE_LIMIT = 1 << 20
ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
EXTENSIONS = ("PIPELINING", f"SIZE {SIZE_LIMIT}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
              "XCLIENT " + " ".join(ATTRIBUTES))


def from_xtext(value):
    """RFC 3461 section 4: +XX is a byte."""
    return re.sub(rb"\+([0-9A-F]{2})", lambda hexadecimal: bytes([int(hexadecimal[1], 16)]),
                  value.encode()).decode("utf-8", "replace")


def visible(text):
    """For headers and the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class Session:
    """One connection. A verb's method returns its reply."""

    def __init__(self, reader, writer, maildir):
        self.reader, self.writer, self.maildir = reader, writer, maildir
        self.identity = {}
        self.forget_transaction()

    def forget_transaction(self):
        self.sender, self.recipients = None, []

    async def run(self):
        self.say("220 backend.example.org ESMTP demonstration")
        while True:
            await self.writer.drain()
            line = (await self.reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
            verb, _, arguments = line.partition(" ")
            method = getattr(self, f"do_{verb.lower()}", None) if verb.isalpha() else None
            reply = await method(arguments) if method else "500 5.5.2 Not known here"
            self.say(reply)
            if reply.startswith("221"):
                return

    def say(self, reply):
        lines = reply.split("\n")
        for line in lines[:-1]:
            self.writer.write(f"{line[:3]}-{line[4:]}\r\n".encode())
        self.writer.write(f"{lines[-1]}\r\n".encode())

    async def do_ehlo(self, name):
        self.forget_transaction()
        self.identity.setdefault("HELO", name)
        return "\n".join(["250 backend.example.org", *(f"250 {each}" for each in EXTENSIONS)])

    async def do_helo(self, name):
        self.forget_transaction()
        self.identity.setdefault("HELO", name)
        return "250 backend.example.org"

    async def do_xclient(self, arguments):
        """As Postfix has it: a command without LOGIN forgets the login."""
        told = {}
        for word in arguments.split():
            name, equals, value = word.partition("=")
            if not equals or name.upper() not in ATTRIBUTES:
                return "501 5.5.4 Bad XCLIENT attribute"
            told[name.upper()] = from_xtext(value)
        self.identity.pop("LOGIN", None)
        self.identity.update((name, value) for name, value in told.items()
                             if value not in ("[UNAVAILABLE]", "[TEMPUNAVAIL]"))
        self.forget_transaction()
        return "220 backend.example.org ESMTP demonstration"

    async def do_mail(self, arguments):
        if "LOGIN" not in self.identity:
            return "530 5.7.0 Nobody has told me who this is"
        match = re.match(r"FROM:\s*<([^>]*)>", arguments, re.IGNORECASE)
        if not match:
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        self.sender, self.recipients = match[1], []
        return "250 2.1.0 Ok"

    async def do_rcpt(self, arguments):
        match = re.match(r"TO:\s*<([^>]+)>", arguments, re.IGNORECASE)
        if self.sender is None:
            return "503 5.5.1 Send MAIL first"
        if not match:
            return "501 5.5.4 Syntax: RCPT TO:<address>"
        self.recipients.append(match[1])
        return "250 2.1.5 Ok"

    async def do_data(self, _):
        if not self.recipients:
            return "503 5.5.1 Send RCPT first"
        self.say("354 End with a line that is one dot")
        await self.writer.drain()
        message, size = [], 0
        while True:
            line = await self.reader.readuntil(b"\r\n")
            if line == b".\r\n":
                break
            size += len(line)
            if size <= SIZE_LIMIT:
                message.append(line[1:] if line.startswith(b".") else line)
        if size > SIZE_LIMIT:
            self.forget_transaction()
            return "552 5.3.4 Too large"
        return self.store(b"".join(message), size)

    def store(self, message, size):
        told = {name: visible(self.identity.get(name, "unknown")) for name in ATTRIBUTES}
        trace = (f"Return-Path: <{visible(self.sender)}>\r\n"
                 f"Received: from {told['HELO']} ({told['NAME']} [{told['ADDR']}]:{told['PORT']})"
                 f"\r\n\t(authenticated as {told['LOGIN']}) by backend.example.org\r\n"
                 f"\tfor {', '.join('<' + visible(each) + '>' for each in self.recipients)}\r\n")
        key = self.maildir.add((trace.encode() + message).replace(b"\r\n", b"\n"))
        print(f"backend: {size} bytes from {told['LOGIN']}, whose client is {told['ADDR']} port "
              f"{told['PORT']} ({told['HELO']})", flush=True)
        self.forget_transaction()
        return f"250 2.0.0 Stored as {key}"

    async def do_rset(self, _):
        self.forget_transaction()
        return "250 2.0.0 Ok"

    async def do_noop(self, _):
        return "250 2.0.0 Ok"

    async def do_vrfy(self, _):
        return "252 2.1.5 Try it"

    async def do_quit(self, _):
        return "221 2.0.0 Bye"


async def serve(address, maildir):
    async def connected(reader, writer):
        try:
            await Session(reader, writer, maildir).run()
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # it has gone, or does not speak SMTP
        finally:
            writer.close()

    if address.startswith("unix:"):
        server = await asyncio.start_unix_server(connected, address[5:], limit=LINE_LIMIT)
    else:
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(connected, host.strip("[]"), int(port),
                                            limit=LINE_LIMIT)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(f"backend: serving {address}", flush=True)
    async with server:
        await ended.wait()


def main():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT|unix:PATH MAILDIR")
    asyncio.run(serve(sys.argv[1], mailbox.Maildir(sys.argv[2])))


if __name__ == "__main__":
    main()
