"""Sends a message through each of Postern's ports, as alice, and looks for it in the Maildir.

    python3 send.py CERTIFICATE MAILDIR PASSWORD SUBMISSIONS_PORT SUBMISSION_PORT…

Exits with 0 if every message arrived with the identity of the one who sent it, and the wrong
password was refused.
"""

import mailbox
import smtplib
import ssl
import sys
import time
import uuid

USER = "alice"
PATIENCE = 10


def connect(port, implicit, context):
    if implicit:
        return smtplib.SMTP_SSL("127.0.0.1", port, "client.example.org", timeout=PATIENCE,
                                context=context)
    client = smtplib.SMTP("127.0.0.1", port, "client.example.org", timeout=PATIENCE)
    client.starttls(context=context)
    return client


def send(client, password, subject):
    client.login(USER, password)
    client.sendmail(f"{USER}@example.org", ["bob@example.org"],
                    f"From: {USER}@example.org\r\nTo: bob@example.org\r\nSubject: {subject}\r\n"
                    "\r\nHello through Postern.\r\n")


def find(maildir, subject):
    """The stored message, waited for."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for message in maildir:
            if message["Subject"] == subject:
                return message
        time.sleep(0.05)
    return None


def try_port(port, implicit, context, maildir, password):
    how = "TLS at once" if implicit else "STARTTLS"
    subject = f"Hello {uuid.uuid4()}"
    with connect(port, implicit, context) as client:
        client_port = client.sock.getsockname()[1]
        version = client.sock.version()
        send(client, password, subject)
    message = find(maildir, subject)
    received = " ".join(message["Received"].split()) if message else ""
    good = f"[127.0.0.1]:{client_port}" in received and f"authenticated as {USER}" in received
    print(f"  port {port}, {how}, {version}: " + ("arrived" if good else "FAILED"))
    print(f"    Received: {received}" if message else "    no message in the Maildir")
    return good


def try_wrong_password(port, context):
    with connect(port, True, context) as client:
        try:
            client.login(USER, "wrong")
        except smtplib.SMTPAuthenticationError as error:
            print(f"  port {port}, wrong password: {error.smtp_code} "
                  f"{error.smtp_error.decode()}")
            return error.smtp_code == 535
    print(f"  port {port}, wrong password: LET IN")
    return False


def main():
    certificate, maildir, password, *ports = sys.argv[1:]
    context = ssl.create_default_context(cafile=certificate)
    box = mailbox.Maildir(maildir)
    results = [try_port(int(port), number == 0, context, box, password)
               for number, port in enumerate(ports)]
    results.append(try_wrong_password(int(ports[0]), context))
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
