"""The real thing: Postern in front of Debian's Postfix, with the clients that people use."""

import email
import email.policy
import os
import re
import select
import shutil
import smtplib
import socket
import subprocess
import uuid

import pytest

from conftest import needs_root
from support import behind, example, pages, wait
from support.client import Client, b64, context, plain_response

pytestmark = needs_root

#: Also for mail from other servers, as at port 25.
INBOUND = {"smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination"}


@pytest.fixture
def front(start, postfix):
    """Postern before the usual Postfix, both as etc/examples/postfix has them."""
    return start(None, example=example.text("postfix/postern.conf",
                                            {"127.0.0.1:10025": "%s:%d" % postfix.address}))


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


def run(*command, **options):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                            timeout=wait.PATIENCE * 3, check=False, **options)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def arrived(postfix, subject, user="alice", address="127.0.0.1"):
    """In the Maildir; and Postfix's own log has the login and the client's address."""
    raw = postfix.wait_for_message(subject)
    line = postfix.client_line(subject)
    assert f"sasl_username={user}" in line
    assert f"client=unknown[{address}]" in line
    return email.message_from_bytes(raw, policy=email.policy.default)


# clients

@needs("swaks")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("port", ["implicit", "starttls"])
def test_swaks(front, postfix, subject, mechanism, port):
    host, number = getattr(front, port)
    run("swaks", "--server", host, "--port", number, "--tls" if port == "starttls" else "--tlsc",
        "--local-interface", "127.0.0.21", "--auth", mechanism, "--auth-user", "alice",
        "--auth-password", "wonderland", "--from", "alice@mail.test", "--to", "bob@mail.test",
        "--h-Subject", subject, "--body", "Hello from swaks")
    message = arrived(postfix, subject, address="127.0.0.21")
    assert "Hello from swaks" in message.get_content()


@needs("swaks")
def test_message_that_the_readme_sends_by_hand_arrives(front, postfix, subject):
    """swaks asks for the password; here it is on the command line."""
    (line,) = [block for block in pages.blocks("README.md") if block.startswith("swaks ")]
    line = line.replace("mail.example.org:465", "%s:%s" % front.implicit)
    run(*line.replace("bob@example.net", "bob@mail.test").split(), "--auth-password", "wonderland",
        "--h-Subject", subject)
    arrived(postfix, subject, address="127.0.0.1")


@needs("swaks")
def test_swaks_pipelining(front, postfix, subject):
    host, number = front.starttls
    run("swaks", "--server", host, "--port", number, "--tls", "--pipeline", "--auth-user", "alice",
        "--auth-password", "wonderland", "--from", "alice@mail.test", "--to",
        "bob@mail.test,carol@mail.test", "--h-Subject", subject)
    arrived(postfix, subject)


@needs("swaks")
def test_swaks_with_a_wrong_password(front):
    host, number = front.starttls
    result = subprocess.run(
        ["swaks", "--server", host, "--port", str(number), "--tls", "--auth-user", "alice",
         "--auth-password", "wrong", "--from", "a@mail.test", "--to", "b@mail.test"],
        capture_output=True, text=True, timeout=wait.PATIENCE, check=False)
    assert result.returncode == 28 and "535 5.7.8" in result.stdout


@needs("curl")
@pytest.mark.parametrize("port, scheme", [("implicit", "smtps"), ("starttls", "smtp")])
def test_curl(front, postfix, subject, certificates, scratch, port, scheme):
    """It checks the certificate, too."""
    host, number = getattr(front, port)
    mail = scratch / "mail"
    mail.write_bytes(f"Subject: {subject}\r\n\r\nHello from curl\r\n".encode())
    run("curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", certificates.certificate,
        "--resolve", f"mail.example.org:{number}:{host}", f"{scheme}://mail.example.org:{number}",
        "--user", "alice:wonderland", "--interface", "127.0.0.22", "--mail-from",
        "alice@mail.test", "--mail-rcpt", "bob@mail.test", "--upload-file", mail)
    arrived(postfix, subject, address="127.0.0.22")


@needs("msmtp")
@pytest.mark.parametrize("port", ["implicit", "starttls"])
@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_msmtp(front, postfix, subject, certificates, port, mechanism):
    host, number = getattr(front, port)
    run("msmtp", "--file=/dev/null", f"--host={host}", f"--port={number}", "--tls=on",
        f"--tls-starttls={'on' if port == 'starttls' else 'off'}", "--tls-certcheck=off",
        f"--auth={mechanism}", "--user=alice", "--passwordeval=echo wonderland",
        "--from=alice@mail.test", "--source-ip=127.0.0.23", "bob@mail.test",
        input=f"Subject: {subject}\n\nHello from msmtp\n.\n.. dots\n")
    message = arrived(postfix, subject, address="127.0.0.23")
    assert message.get_content() == "Hello from msmtp\n.\n.. dots\n"


@pytest.mark.parametrize("port", ["implicit", "starttls"])
def test_smtplib(front, postfix, subject, port):
    host, number = getattr(front, port)
    source = ("127.0.0.24", 0)
    if port == "implicit":
        client = smtplib.SMTP_SSL(host, number, context=context(), source_address=source)
    else:
        client = smtplib.SMTP(host, number, source_address=source)
        client.starttls(context=context())
    with client:
        client.login("alice", "wonderland")
        message = email.message.EmailMessage(policy=email.policy.SMTP)
        message["Subject"], message["From"], message["To"] = subject, "alice@mail.test", \
            "bob@mail.test"
        message.set_content("Grüße\n.\nmit Punkten\n")
        client.send_message(message)
    stored = arrived(postfix, subject, address="127.0.0.24")
    assert stored.get_content() == "Grüße\n.\nmit Punkten\n"


@pytest.mark.parametrize("port", ["implicit", "starttls"])
def test_s_client_by_hand(front, postfix, subject, port):
    """Line by line, as somebody at a terminal would."""
    host, number = getattr(front, port)
    process = subprocess.Popen(
        ["openssl", "s_client", "-quiet", "-connect", f"{host}:{number}", "-crlf",
         *(["-starttls", "smtp"] if port == "starttls" else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)

    def line():
        read = b""
        while not read.endswith(b"\n"):
            assert select.select([process.stdout], [], [], wait.PATIENCE)[0], f"only {read!r}"
            read += os.read(process.stdout.fileno(), 1)
        return read.decode()

    def say(said, code):
        if said is not None:
            process.stdin.write(said.encode() + b"\n")
        reply = line()
        while reply[3:4] == "-":
            reply = line()
        assert reply.startswith(code), reply
    try:
        if port == "implicit":
            say(None, "220")
        say("EHLO hand.example", "250")
        say("AUTH LOGIN", "334")
        say(b64("alice"), "334")
        say(b64("wonderland"), "235")
        say("MAIL FROM:<alice@mail.test>", "250")
        say("rcpt to:<bob@mail.test>", "250")
        say("DATA", "354")
        say(f"Subject: {subject}\n\nBy hand\n.", "250")
        process.stdin.write(b"QUIT\n")
        assert process.wait(wait.PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()
    arrived(postfix, subject)


# what Postfix makes of it

def test_helo_name_stands_in_the_trace(front, postfix, subject):
    with front.connect() as one:
        one.ehlo("laptop.example")
        one.login("alice", "wonderland")
        one.send_message("alice@mail.test", ["bob@mail.test"],
                         f"Subject: {subject}\r\n\r\nx\r\n".encode())
    received = arrived(postfix, subject, address="127.0.0.9")["Received"]
    assert "from laptop.example (unknown [127.0.0.9])" in received
    assert "with ESMTPA" in received


def test_postfix_is_told_address_port_name_and_login(start, postfix, nameserver, subject):
    """The name where it is asked for and leads back."""
    nameserver.names["127.0.0.25"] = "laptop.example.org"
    nameserver.addresses["laptop.example.org"] = "127.0.0.25"
    front = start(None, nameservers=[nameserver.address], example=example.text(
        "postfix/postern.conf", {'"127.0.0.1:10025"': '"%s:%d" resolve = true' % postfix.address}))
    with front.log_in(source="127.0.0.25") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"],
                         f"Subject: {subject}\r\n\r\nx\r\n".encode())
    assert postfix.client_line(subject) == \
        f"client=laptop.example.org[127.0.0.25]:{one.port}, " \
        "sasl_method=XCLIENT, sasl_username=alice"
    assert b"from client.example (laptop.example.org [127.0.0.25])" in \
        postfix.wait_for_message(subject)


def test_only_the_authenticated_may_relay(front, postfix, subject):
    """By the login, not by the address: Postfix, asked directly, refuses."""
    with Client(postfix.address, source=None) as direct:
        direct.greeting()
        direct.ehlo()
        direct.command("MAIL FROM:<alice@mail.test>", 250)
        direct.command("RCPT TO:<somebody@elsewhere.test>", 554)
    with front.log_in() as one:
        one.send_message("alice@mail.test", ["somebody@elsewhere.test", "bob@mail.test"],
                         f"Subject: {subject}\r\n\r\nx\r\n".encode())
    arrived(postfix, subject, address="127.0.0.9")
    postfix.wait_for_log(rf"{postfix.queue_id_of(subject)}: to=<somebody@elsewhere.test>.*status=sent")


@pytest.mark.parametrize("login", ["dave@mail.test", "a b", "a=b", "a+b", "ü"])
def test_logins_of_all_kinds_arrive_whole(start, postfix, subject, login):
    """Threat 10, with a real decoder of xtext behind it."""
    front = start(postfix.address, auth={"pam_service": "permit"})
    with front.log_in(login, "x") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"],
                         f"Subject: {subject}\r\n\r\nx\r\n".encode())
    line = postfix.client_line(subject)
    assert line.endswith(f"sasl_username={login}"), line


def test_client_at_an_authorised_address_gains_nothing(front, postfix, subject):
    """backends.md, trap 4: told that the client is 127.0.0.1, Postfix offers XCLIENT again."""
    with front.log_in(source="127.0.0.1") as one:
        assert "XCLIENT" not in one.ehlo()
        one.command("XCLIENT LOGIN=root ADDR=192.0.2.1", 550)
        one.send(f"xclient login=root\r\nMAIL FROM:<alice@mail.test>\r\nXCLIENT LOGIN=root\r\n"
                 f"RCPT TO:<bob@mail.test>\r\nDATA\r\n")
        assert [one.reply().code for _ in range(5)] == [550, 250, 550, 250, 354]
        one.send(f"Subject: {subject}\r\n\r\nx\r\n.\r\n")
        one.reply(250)
    arrived(postfix, subject, address="127.0.0.1")


def test_ehlo_offers_what_postfix_offers_and_nothing_of_its_own(front):
    wait.until(lambda: "SIZE" in front.connect().ehlo(), "the offer")
    with front.connect() as before:
        offered = before.ehlo()
        before.login("alice", "wonderland")
        after = before.ehlo()
    assert offered.pop("AUTH") == "PLAIN LOGIN"
    assert offered == after == {
        "PIPELINING": "", "SIZE": "60000000", "VRFY": "", "ETRN": "", "ENHANCEDSTATUSCODES": "",
        "8BITMIME": "", "DSN": "", "SMTPUTF8": "", "CHUNKING": ""}


def test_outsiders_mail_is_not_lost_by_dsn_that_postfix_offers_its_own_networks_alone(
        start, postfix_with, scratch, subject):
    """Its manual's example; Postern's probe comes from one of these networks."""
    table = scratch / "esmtp_access"
    table.write_text("127.0.0.1 silent-discard\n0.0.0.0/0 silent-discard, dsn\n")
    postfix = postfix_with(smtpd_discard_ehlo_keyword_address_maps=f"cidr:{table}", **INBOUND)
    mx = wait.free_port()
    front = start(postfix.address, listen={
        "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["mail.test"]}})
    front.starttls = ("127.0.0.1", mx)
    wait.until(lambda: "SIZE" in front.connect(tls=None).ehlo(), "the offer")
    with front.connect(tls=None, source="127.0.0.33") as one:
        assert "DSN" in one.ehlo()
        one.command("MAIL FROM:<alice@sender.example> RET=HDRS ENVID=x", 250)
        one.command("RCPT TO:<bob@mail.test> NOTIFY=NEVER ORCPT=rfc822;bob@mail.test", 250)
        one.command("DATA", 354)
        one.send(f"Subject: {subject}\r\n\r\nx\r\n.\r\n")
        one.reply(250)
        one.quit()
    postfix.wait_for_message(subject)
    with front.connect(tls=None, source="127.0.0.34") as one:
        assert "DSN" not in one.ehlo()


def test_size_limit_of_the_backend_is_told_and_kept(start, postfix_with):
    postfix = postfix_with(message_size_limit="20000", virtual_mailbox_limit="0")
    front = start(postfix.address)
    with front.log_in() as one:
        assert one.ehlo()["SIZE"] == "20000"
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        one.command("DATA", 354)
        one.send((b"y" * 998 + b"\r\n") * 100 + b".\r\n")
        one.reply(552)
        one.command("MAIL FROM:<alice@mail.test> SIZE=50000", 552)
        one.quit()


def test_utf8_addresses_pass(front, postfix, subject):
    with front.log_in() as one:
        one.command("MAIL FROM:<jürgen@mail.test> SMTPUTF8", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        one.command("DATA", 354)
        one.send(f"Subject: {subject}\r\n\r\nx\r\n.\r\n")
        one.reply(250)
    postfix.wait_for_message(subject)


def test_chunking_through_postfix(front, postfix, subject):
    text = f"Subject: {subject}\r\n\r\n".encode() + b".\r\nRSET\r\n" * 10
    with front.log_in() as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        for number in range(0, len(text), 30):
            piece = text[number:number + 30]
            one.send(b"BDAT %d\r\n" % len(piece) + piece)
            one.reply(250)
        one.send(b"BDAT 0 LAST\r\n")
        one.reply(250)
    message = email.message_from_bytes(postfix.wait_for_message(subject))
    assert message.get_payload() == ".\nRSET\n" * 10


def test_postfix_gets_20_megabytes_whole(front, postfix, subject):
    behind.large_message_arrives_whole(front, postfix, subject)


def test_postfix_answers_what_a_client_pipelines(front, postfix, subject):
    behind.pipelined_commands_are_answered_in_order(front, postfix, subject)


def test_threat_07_nothing_is_smuggled_to_a_default_postfix(front, postfix, subject):
    """3.7.11 as it comes takes LF.LF, LF.CRLF and CRLF.LF for an end."""
    behind.no_second_message_is_smuggled(front, postfix, subject)
    assert "from=<forged@mail.test>" not in postfix.log()


@pytest.mark.parametrize("role", ["submission", "mx"])
@pytest.mark.parametrize("command", ["DATA", "BDAT"])
@pytest.mark.parametrize("start_", [b". ", b".\t", b" ", b"\t"])
def test_threat_33_first_line_does_not_become_ours_in_postfix(start, postfix_with, subject, role,
                                                              command, start_):
    """Postfix takes a dot away from before a blank in DATA."""
    postfix = postfix_with(**INBOUND)
    port = wait.free_port()
    mx = {"address": f"127.0.0.1:{port}", "role": "mx", "recipients": ["mail.test"]}
    front = start("%s:%d" % postfix.address, backend={"trace": True},
                  **({"listen": {"mx": mx}} if role == "mx" else {}))
    forged = start_ + b"(authenticated as ceo) id forged; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    text = forged + b"Subject: %s\r\n\r\nx\r\n" % subject.encode()
    if role == "mx":
        front.starttls = ("127.0.0.1", port)
        one = front.connect(tls=None)
        one.ehlo("mx.sender.example")
    else:
        one = front.log_in()
    with one:
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        if command == "DATA":
            one.command("DATA", 354)
            one.send(text + b".\r\n")
        else:
            one.send(b"BDAT %d LAST\r\n" % len(text) + text)
        one.reply(250)
        one.quit()
    head, _, body = postfix.wait_for_text(subject).partition(b"\n\n")
    ours = [field for field in email.message_from_bytes(head).get_all("Received")
            if "by mail.example.org" in field]
    assert len(ours) == 1 and "forged" not in ours[0], head
    assert b"id forged" in body


def test_threat_30_chunk_that_postfix_refuses_for_its_own_tls_is_no_command(start, postfix_with):
    """It refuses every command, and would read the lines of the chunk."""
    server = postfix_with(smtpd_tls_security_level="encrypt")
    with start("%s:%d" % server.address, backend={"identity": "none"}).log_in() as one:
        one.command("MAIL FROM:<a@mail.test>", 530)
        chunk = b"XCLIENT LOGIN=root\r\nVRFY forged\r\n"
        one.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk + b"NOOP\r\n")
        assert [one.reply().code for _ in range(2)] == [503, 250]
        one.quit()
    assert "forged" not in server.log()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_outage_of_postfix_loses_and_doubles_nothing(front, postfix, subject, end):
    behind.outage_in_the_middle_loses_and_doubles_nothing(
        front, postfix, subject, fail=getattr(postfix, end), recover=postfix.start)


def test_outage_of_postfix_before_a_message_is_told_and_passes(front, postfix, subject):
    behind.outage_before_the_message_loses_and_doubles_nothing(
        front, postfix, subject, fail=postfix.kill, recover=postfix.start)


# Postfix in other moods

def test_postfix_that_does_not_authorise_the_proxy(start, postfix_with):
    postfix = postfix_with(smtpd_authorized_xclient_hosts="")
    front = start(postfix.address)
    with front.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
        one.expect_closed()
    record = front.wait_for_record(event="session refused")
    assert record["cause"] == "backend does not offer XCLIENT"


def test_threat_39_client_that_postfix_rejects_is_told_so(start, postfix_with):
    """Within XCLIENT, as with smtpd_delay_reject = no each server does it."""
    postfix = postfix_with(smtpd_delay_reject="no", smtpd_client_restrictions=
                           "check_client_access inline:{127.0.0.9=REJECT}")
    front = start(postfix.address)
    with front.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland")
        reply = one.command("MAIL FROM:<alice@mail.test>", 554)
        assert re.fullmatch(r"5\.7\.1 <.*\[127\.0\.0\.9\](:\d+)?>: Client host rejected: Access denied",
                            reply.text)
        one.quit()


def test_postfix_without_sasl_relays_for_nobody(start, postfix_with):
    """backends.md: it answers LOGIN with 220 and forgets it. Nothing worse than a refusal may
    come of it."""
    postfix = postfix_with(smtpd_sasl_auth_enable="no")
    front = start(postfix.address)
    with front.connect() as one:
        one.ehlo()
        if one.login("alice", "wonderland", 235, 454).code == 235:
            one.command("MAIL FROM:<alice@mail.test>", 250)
            one.command("RCPT TO:<somebody@elsewhere.test>", 554)


def test_postfix_for_ipv4_only_refuses_ipv6_clients_closed(start, postfix_with):
    """backends.md, trap 2: 501 to the address; never as localhost."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    postfix = postfix_with(inet_protocols="ipv4")
    port = wait.free_port("::1")
    front = start(postfix.address, listen={"six": {"address": f"[::1]:{port}", "tls": "implicit"}})
    with Client(("::1", port), tls=True) as one:
        one.greeting()
        one.ehlo()
        one.login("alice", "wonderland", 421, 451, 454)
        one.expect_closed()
    assert "501" in front.wait_for_record(event="session refused")["cause"]


def test_postfix_that_stops_and_comes_back(front, postfix):
    with front.log_in() as one:
        one.command("NOOP", 250)
        postfix.stop()
        try:
            one.command("NOOP", 421)
            one.expect_closed()
            with front.connect() as two:
                two.ehlo()
                two.login("alice", "wonderland", 454)
        finally:
            postfix.start()
    front.log_in().quit()


def test_refusals_of_postfix_reach_the_client_word_for_word(front):
    with front.log_in() as one:
        one.command("MAIL FROM:<not an address>", 501, 553)
        one.command("MAIL FROM:<alice@mail.test>", 250)
        assert "elsewhere" not in one.command("RCPT TO:<>", 501, 503).text
        reply = one.command("DATA", 554, 503)
        assert reply.status


def test_many_logins_one_after_the_other(front, postfix, subject):
    for number in range(10):
        with front.connect() as one:
            one.ehlo()
            one.command("AUTH PLAIN " + plain_response("alice", "wonderland"), 235)
            one.send_message("alice@mail.test", ["bob@mail.test"],
                             f"Subject: {subject} {number}\r\n\r\nx\r\n".encode())
            one.quit()
    for number in range(10):
        arrived(postfix, f"{subject} {number}", address="127.0.0.9")


# what a postmaster finds

def test_line_of_a_message_leads_to_postfixs_own(front, postfix):
    """By the queue's number, which Postfix has in its reply."""
    with front.log_in() as one:
        one.send_message("sender@example.net", ["alice@example.org"], b"Subject: x\r\n\r\ntext\r\n")
        one.quit()
    record = front.wait_for_record(event="message", user="alice", result="accepted")
    queued = re.search(r"queued as (\w+)$", record["reply"])
    postfix.wait_for_log(rf"smtpd\[\d+\]: {queued[1]}: client=.*sasl_username=alice")
