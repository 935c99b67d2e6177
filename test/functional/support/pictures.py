"""The pictures of the status page in etc/guides: made of the page itself with fixed figures. Each
holds a mark, the hash of what it was made of, so that a page that has changed is noticed without
comparing fonts, which differ from machine to machine. After a change of the page, make them again
and look at them:

    RENEW_PICTURES=1 python3 -m pytest test_page.py -k pictures
"""

import base64
import hashlib
import json
import math
import pathlib
import struct
import zlib

ROOT = pathlib.Path(__file__).parents[3]
PAGE = [ROOT / "proxy/admin/page" / name for name in ("page.html", "page.css", "page.js")]
PLACE = ROOT / "etc/guides"
WIDTH, HEIGHT = 1000, 1000
KEYWORD = b"postern-page"
#: Of both together.
SIZE_LIMIT = 150 * 1024

STEP_MS, POINTS = 10000, 372
COLUMNS = ["age_ms", "sessions", "relay", "logins", "logins_failed", "logins_unavailable",
           "logins_put_off", "messages", "bytes_in", "bytes_out"]


def _busy(step):
    """How much goes on in that step of the hour: about 1."""
    minute = step / 6
    return 1 + 0.25 * math.sin(minute / 9) + 0.12 * math.sin(minute / 2.3) + \
        0.08 * math.sin(minute * 1.7)


def _points():
    """Counters and what is open, step by step; passwords are guessed for a while in the midst."""
    sums = [71230.0, 950.0, 0.0, 3460.0, 118400.0, 9.3e9, 0.7e9]
    for step in range(POINTS + 1):
        busy = _busy(step)
        guessed = 14 * max(0.0, math.sin((step - 215) / 60 * math.pi)) if 215 < step < 275 else 0
        grown = [2.6 * busy, 0.15 * busy + guessed / 2, 0, guessed / 2, 4.1 * busy,
                 410e3 * busy * (1 + 0.3 * math.sin(step / 7)), 31e3 * busy]
        sums = [before + more for before, more in zip(sums, grown)]
        yield [(POINTS - step) * STEP_MS, round(46 * busy), round(31 * busy), *map(round, sums)]


*_PAST, _NOW = _points()
_LAST = dict(zip(COLUMNS, _NOW))
HISTORY = {"columns": COLUMNS, "points": _PAST}
STATUS = {
    "version": "0.1.0", "hostname": "mail.example.org", "state": "serving",
    "configuration": "/etc/postern/postern.conf", "uptime_s": 4233600,
    "sessions": {"total": _LAST["sessions"], "relay": _LAST["relay"]},
    "counters": {**{name: _LAST[name] for name in COLUMNS[3:]}, "tls_handshake_failures": 214},
    "limits_hit": {"failed_logins": 61, "failed_logins_user": 12, "idle_time": 38},
    "listeners": [],
    "backends": [
        {"name": "postfix", "address": "127.0.0.1:10025", "state": "up", "opened": 71189, "failed": 2},
        {"name": "spare", "address": "192.0.2.25:10025", "state": "up", "opened": 41, "failed": 0}],
    "certificates": [
        {"file": "/etc/postern/tls/mail.example.org.pem", "state": "used", "days_left": 61,
         "not_after": "2027-01-29T12:00:00Z"}],
}

#: Shows these figures, and asks Postern for no others.
SHOW = """
    const [status, history, done] = arguments;
    turn = async () => {};
    past = [];
    recall(history, status);
    showStatus(status);
    requestAnimationFrame(() => requestAnimationFrame(() => done()));
"""


def mark():
    """Of all that the pictures are made of, except the browser and its fonts."""
    made_of = [path.read_bytes() for path in PAGE]
    made_of.append(json.dumps([STATUS, HISTORY, SHOW, WIDTH, HEIGHT]).encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()


def path_of(dark):
    return PLACE / f"status-{'dark' if dark else 'light'}.png"


def take(driver):
    """The picture of a page that is open in the emulated width, as PNG."""
    driver.execute_async_script(SHOW, STATUS, HISTORY)
    answer = driver.execute_cdp_cmd("Page.captureScreenshot", {
        "format": "png", "clip": {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}})
    return base64.b64decode(answer["data"])


def chunks(png):
    """(kind, content) of each chunk."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at + 8:at + 8 + length]
        at += 12 + length


def _chunk(kind, content):
    return struct.pack(">I4s", len(content), kind) + content + \
        struct.pack(">I", zlib.crc32(kind + content))


def pixels(png):
    """(width, height, rows), a row being its pixels' bytes: red, green, blue."""
    content = dict(chunks(png))
    width, height, depth, colour, _, _, laced = struct.unpack(">IIBBBBB", content[b"IHDR"])
    assert (depth, laced) == (8, 0) and colour in (2, 3, 6)
    each = {2: 3, 3: 1, 6: 4}[colour]
    data = zlib.decompress(b"".join(body for kind, body in chunks(png) if kind == b"IDAT"))
    rows, before = [], bytearray(width * each)
    for y in range(height):
        at = y * (width * each + 1)
        before = _unfilter(data[at], bytearray(data[at + 1:at + 1 + width * each]), before, each)
        rows.append(before)
    if colour == 3:
        palette = content[b"PLTE"]
        rows = [b"".join(palette[3 * index:3 * index + 3] for index in row) for row in rows]
    if colour == 6:
        rows = [bytes(byte for at, byte in enumerate(row) if at % 4 != 3) for row in rows]
    return width, height, rows


def _unfilter(kind, row, above, each):
    for at, byte in enumerate(row):
        left = row[at - each] if at >= each else 0
        corner = above[at - each] if at >= each else 0
        if kind == 1:
            row[at] = (byte + left) & 255
        elif kind == 2:
            row[at] = (byte + above[at]) & 255
        elif kind == 3:
            row[at] = (byte + (left + above[at]) // 2) & 255
        elif kind == 4:
            guess = left + above[at] - corner
            row[at] = (byte + min((left, above[at], corner),
                                  key=lambda one, guess=guess: abs(guess - one))) & 255
    return row


def pack(png):
    """The same picture with 256 colours at most, and the mark of what it was made of."""
    width, height, rows = pixels(png)
    counts = {}
    for row in rows:
        for at in range(0, len(row), 3):
            colour = bytes(row[at:at + 3])
            counts[colour] = counts.get(colour, 0) + 1
    palette = sorted(counts, key=counts.get, reverse=True)[:256]
    nearest = {colour: index for index, colour in enumerate(palette)}
    for colour in counts:
        if colour not in nearest:
            nearest[colour] = min(range(len(palette)), key=lambda index, colour=colour: sum(
                (one - other) ** 2 for one, other in zip(palette[index], colour)))
    body = b"".join(b"\0" + bytes(nearest[bytes(row[at:at + 3])] for at in range(0, len(row), 3))
                    for row in rows)
    return b"\x89PNG\r\n\x1a\n" + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)) + _chunk(
        b"PLTE", b"".join(palette)) + _chunk(
        b"tEXt", KEYWORD + b"\0" + mark().encode()) + _chunk(
        b"IDAT", zlib.compress(body, 9)) + _chunk(b"IEND", b"")


def mark_of(png):
    """The one that is in a picture, or None."""
    for kind, content in chunks(png):
        if kind == b"tEXt" and content.startswith(KEYWORD + b"\0"):
            return content[len(KEYWORD) + 1:].decode()
    return None


def difference(png, other):
    """How far two pictures of the same size are from each other, seen from afar: the mean
    difference of the brightness of squares, from 0 to 255."""
    first, second = _squares(png), _squares(other)
    return sum(abs(one - two) for one, two in zip(first, second)) / len(first)


def _squares(png, side=20):
    width, height, rows = pixels(png)
    sums = [0] * (width // side * (height // side))
    for y in range(height // side * side):
        for x in range(width // side):
            sums[y // side * (width // side) + x] += sum(rows[y][3 * x * side:3 * (x + 1) * side])
    return [each / (3 * side * side) for each in sums]
