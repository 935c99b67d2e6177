"use strict";
// Asks for /status, /sessions, /failures and /history, and shows what is answered. Whatever comes
// from there becomes text, and never markup: users and clients choose their names themselves.

const TURN_MS = 2000, HIDDEN_MS = 15000, PATIENCE_MS = 10000;
const MINUTE_MS = 60000, SPAN_MS = 60 * MINUTE_MS, LEAST_SPAN_MS = 5 * MINUTE_MS;
const KEPT_MS = SPAN_MS + 2 * MINUTE_MS, LISTED = 200;
const STEP_MS = 10000;  // between two points of /history
const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// how things are said

function count(value) {
  return Math.round(value).toLocaleString("en");
}

function rate(value) {
  return value === null ? "–" : value < 10 ? value.toFixed(1).replace(/\.0$/, "") : count(value);
}

// Where there is little room.
function brief(value) {
  return value.toLocaleString("en", {notation: "compact"});
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return (unit && value < 10 ? value.toFixed(1) : Math.round(value)) + " " + units[unit];
}

function age(ms) {
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60);
  if (s < 60) return s + " s";
  if (m < 60) return m + " min";
  return h < 48 ? h + " h " + m % 60 + " min" : Math.floor(h / 24) + " days";
}

function clock(iso) {
  const when = new Date(iso);
  const today = when.toDateString() === new Date().toDateString();
  return today ? when.toLocaleTimeString() : when.toLocaleString();
}

// What a client said: what shows as nothing, as a blank or backwards is shown as its number.
function plain(text) {
  const hidden = /(?! )[\p{Z}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/gu;
  return text?.replace(hidden, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);
}

const chip = (text, kind) => element("span", text, "chip " + kind);

// tables: a column is [heading, what it shows, class]

const COLUMNS = {
  backends: [
    ["Name", (b) => b.name],
    ["Address", (b) => b.address],
    ["State", (b) => chip(b.state, {up: "good", down: "bad", no_identity: "bad"}[b.state] || "")],
    ["Opened", (b) => count(b.opened), "number"],
    ["Failed", (b) => count(b.failed), "number"],
  ],
  certificates: [
    ["File", (c) => c.file],
    ["State", (c) => chip(c.state, c.state == "used" ? "good" : "bad")],
    ["Ends", (c) => c.not_after ? new Date(c.not_after).toLocaleDateString() : "", "fixed"],
    ["Days left", (c) => c.not_after === undefined ? "" : chip(c.days_left, c.days_left < 7 ? "bad" : c.days_left < 21 ? "warn" : "good"), "number"],
  ],
  sessions: [
    ["Client", (s) => s.client, "fixed"],
    ["User", (s) => plain(s.user)],
    ["HELO", (s) => plain(s.helo)],
    ["TLS", (s) => s.tls],
    ["Mail server", (s) => s.backend],
    ["State", (s) => s.state, "fixed"],
    ["Age", (s) => age(s.age_ms), "number"],
    ["Messages", (s) => count(s.messages), "number"],
    ["Bytes in", (s) => bytes(s.bytes_in), "number"],
    ["Id", (s) => s.id],
  ],
  failures: [
    ["Time", (f) => clock(f.time), "fixed"],
    ["Times", (f) => count(f.times), "number"],
    ["What", (f) => f.kind, "fixed"],
    ["Listener", (f) => f.listener, "fixed"],
    ["Client", (f) => f.client, "fixed"],
    ["User", (f) => plain(f.user)],
    ["Why", (f) => plain(f.reason)],
  ],
  listeners: [
    ["Name", (l) => l.name],
    ["Address", (l) => l.address],
    ["TLS", (l) => l.tls],
    ["Role", (l) => l.role],
  ],
  limits: [
    ["Limit", (l) => l.name],
    ["Times", (l) => count(l.times), "number"],
  ],
};

const NOTHING = {sessions: "Nobody is here.", failures: "None.", limits: "None.",
                 backends: "None.", certificates: "None.", listeners: "None."};

function row(columns, entry) {
  const made = element("tr");
  for (const [heading, show, className] of columns) {
    const shown = show(entry), cell = element("td", null, className);
    cell.dataset.label = heading;
    if (shown !== null && shown !== undefined) cell.append(shown);
    made.append(cell);
  }
  return made;
}

function table(id, entries, nothing = NOTHING[id]) {
  const columns = COLUMNS[id];
  if (entries.length === 0) {
    byId(id).replaceChildren(element("p", nothing, "nothing"));
    return;
  }
  const head = element("tr"), body = element("tbody"), top = element("thead"), made = element("table");
  for (const [heading, , className] of columns) head.append(element("th", heading, className));
  top.append(head);
  body.append(...entries.map((entry) => row(columns, entry)));
  made.append(top, body);
  byId(id).replaceChildren(made);
}

// figures, and how they went

// The last hour: points of /history, and what was answered since. A point without figures: there
// was no answer.
let past = [];

const FAILED = ["logins_failed", "logins_put_off", "logins_unavailable"];

// The last hour as the reactors have kept it; what this page knows from before stays.
function recall(history, status) {
  const now = performance.now(), [, ...names] = history.columns;
  const points = history.points.map(([age, ...values]) => (
    {at: now - age, ...Object.fromEntries(names.map((name, index) => [name, values[index]]))}));
  const from = points.length > 0 ? points[0].at : now;
  const before = past.filter((point) => point.at < from - STEP_MS);
  if (points.length > 0) points[0].isFirst = now - from > status.uptime_s * 1000 - STEP_MS;
  past = before.length > 0 ? [...before, {at: from - 1}, ...points] : points;
}

function remember(point) {
  past.push({at: performance.now(), ...point});
  const now = past[past.length - 1].at;
  past = past.filter(({at}) => now - at <= KEPT_MS);
  for (let i = past.length - 2; i > 0; i--)  // of what is older than a minute, steps are enough
    if (now - past[i].at > 2 * MINUTE_MS && past[i + 1].at - past[i - 1].at < STEP_MS) past.splice(i, 1);
}

function grown(now, before, names) {
  if (now.sessions === undefined || before?.sessions === undefined) return null;
  const more = names.reduce((sum, name) => sum + now[name] - before[name], 0);
  return more >= 0 ? more : null;
}

// What has come in the minute before a point; of a point within a minute of the start, since then.
function inMinute(names, index) {
  let first = index;
  while (first > 0 && past[index].at - past[first].at < MINUTE_MS && past[first - 1].sessions !== undefined) first--;
  const whole = past[index].at - past[first].at >= MINUTE_MS || past[first].isFirst === true;
  return whole ? grown(past[index], past[first], names) : null;
}

function inSecond(names, index) {
  let first = index;
  while (first > 0 && past[index].at - past[first].at < STEP_MS && past[first - 1].sessions !== undefined) first--;
  const more = grown(past[index], past[first], names), elapsed = past[index].at - past[first].at;
  return more !== null && elapsed > 0 ? more / elapsed * 1000 : null;
}

const perMinute = (names) => (point, index) => inMinute(names, index);
const perSecond = (names) => (point, index) => inSecond(names, index);
const open = (name) => (point) => point[name];

const CHARTS = [
  ["Sessions", count, 2, [["all", open("sessions")], ["handing mail on", open("relay")]]],
  ["Logins in a minute", rate, 2, [["accepted", perMinute(["logins"])], ["failed", perMinute(FAILED)]]],
  ["Messages in a minute", rate, 2, [["messages", perMinute(["messages"])]]],
  ["Bytes a second", bytes, 1000, [["from clients", perSecond(["bytes_in"])], ["to clients", perSecond(["bytes_out"])]]],
];

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The upper end of an axis, whose half can be said as well.
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 10].map((step) => step * power).find((step) => step > 1 && step >= value);
}

// Pieces of a line; where a value is not known there is a gap.
function lines(values, x, y, ink) {
  const made = [];
  let points = [];
  const end = () => {
    if (points.length > 0)
      made.push(svg("polyline", {points: points.join(" "), class: "ink-" + ink}));
    points = [];
  };
  values.forEach((value, index) => {
    if (value === null || value === undefined) end();
    else points.push(x(index).toFixed(1) + "," + y(value).toFixed(1));
  });
  end();
  return made;
}

// Of a drawing, so that its letters are not stretched.
function chartWidth() {
  const there = document.querySelector("#charts svg");
  return there ? there.clientWidth : 400;
}

// How far back the drawings go: an hour, and less where nothing is known of so long ago.
function span() {
  return Math.min(SPAN_MS, Math.max(LEAST_SPAN_MS, past[past.length - 1].at - past[0].at));
}

function chart([title, say, least, series]) {
  const wide = chartWidth(), high = 150, left = 46, right = 4, top = 8, bottom = 18;
  const now = past[past.length - 1].at, shown = span();
  const values = series.map(([, value]) => past.map(
    (point, index) => now - point.at <= shown ? value(point, index) : null));
  const most = niceTop(Math.max(least, ...values.flat().map((value) => value || 0)));
  const x = (index) => left + (wide - left - right) * (1 - (now - past[index].at) / shown);
  const y = (value) => top + (high - top - bottom) * (1 - value / most);
  const drawing = svg("svg", {viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", "aria-hidden": "true"});
  for (const part of [0, 0.5, 1]) {
    drawing.append(svg("line", {x1: left, x2: wide - right, y1: y(part * most), y2: y(part * most), class: "grid"}),
                   svg("text", {x: left - 6, y: y(part * most) + 4, "text-anchor": "end"}, (say === bytes ? bytes : brief)(part * most)));
  }
  drawing.append(svg("text", {x: left, y: high - 4}, shown < SPAN_MS ? Math.round(shown / MINUTE_MS) + " min ago" : "an hour ago"),
                 svg("text", {x: wide - right, y: high - 4, "text-anchor": "end"}, "now"));
  values.forEach((each, ink) => drawing.append(...lines(each, x, y, ink)));

  const legend = element("ul");
  series.forEach(([name], ink) => {
    const last = values[ink][values[ink].length - 1];
    legend.append(element("li", name + " " + (last === null || last === undefined ? "–" : say(last)), "ink-" + ink));
  });
  const made = element("div", null, "chart");
  made.append(element("h2", title), legend, drawing);
  return made;
}

// Twice, where the first ones show that there is another width to draw for.
function drawCharts() {
  const wide = chartWidth();
  byId("charts").replaceChildren(...CHARTS.map(chart));
  if (chartWidth() !== wide) byId("charts").replaceChildren(...CHARTS.map(chart));
}

function tiles(status) {
  const now = past.length - 1;
  const limits = Object.values(status.limits_hit).reduce((sum, times) => sum + times, 0);
  return [
    [count(status.sessions.total), "sessions"],
    [rate(inMinute(["logins"], now)), "logins in a minute"],
    [rate(inMinute(FAILED, now)), "failed logins in a minute"],
    [rate(inMinute(["messages"], now)), "messages in a minute"],
    [count(status.counters.messages), "messages since the start"],
    [bytes(status.counters.bytes_in), "from clients since the start"],
    [count(status.counters.tls_handshake_failures), "TLS handshakes failed"],
    [count(limits), "limits hit"],
  ].map(([figure, label]) => {
    const made = element("div", null, "tile");
    made.append(element("b", figure), element("span", label));
    return made;
  });
}

// the page

function showState(text, kind) {
  byId("state").textContent = text;
  byId("state").className = "chip " + kind;
}

function showStatus(status) {
  remember({...status.counters, sessions: status.sessions.total, relay: status.sessions.relay});
  document.title = status.hostname + " – Postern";
  byId("hostname").textContent = status.hostname;
  byId("about").textContent = `Postern ${status.version}, up ${age(status.uptime_s * 1000)}, ${status.configuration}`;
  showState(status.state, {serving: "good", draining: "warn"}[status.state] || "bad");
  byId("tiles").replaceChildren(...tiles(status));
  drawCharts();
  table("backends", status.backends);
  table("certificates", status.certificates);
  table("listeners", status.listeners);
  table("limits", Object.entries(status.limits_hit).filter(([, times]) => times > 0)
    .map(([name, times]) => ({name: name.replaceAll("_", " "), times})));
}

let listed = {total: 0, sessions: []};

function showSessions() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const fits = (session) => Object.values(session).some(
    (value) => String(value ?? "").toLowerCase().includes(wanted));
  const shown = wanted ? listed.sessions.filter(fits) : listed.sessions;
  const partly = listed.total > listed.sessions.length;
  byId("shown").textContent = `${count(shown.length)} of ${count(listed.total)}` +
    (wanted && partly ? `, looked for among ${count(LISTED)}; a whole login or address among all` : "");
  table("sessions", shown, wanted && listed.total > 0 ? "Nobody like that." : NOTHING.sessions);
}

// Where there are more than are listed, those of just this login or address are asked for, too.
async function askSessions() {
  const wanted = byId("filter").value.trim(), answer = await ask(`/sessions?limit=${LISTED}`);
  if (!wanted || answer.total <= answer.sessions.length) return answer;
  const keys = /^[0-9a-f.:/]+$/i.test(wanted) ? ["user", "address"] : ["user"];
  const more = await Promise.all(keys.map(
    (key) => ask(`/sessions?limit=${LISTED}&${key}=${encodeURIComponent(wanted)}`).catch(() => ({sessions: []}))));
  const known = new Map(answer.sessions.map((session) => [session.id, session]));
  for (const {sessions} of more)
    for (const session of sessions) known.set(session.id, session);
  return {...answer, sessions: [...known.values()]};
}

async function ask(path) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}

// Is there a time of which this page has seen nothing: before it was opened, or while there was no
// answer, or the machine slept?
function misses() {
  const last = past[past.length - 1];
  return !last || last.sessions === undefined || performance.now() - last.at > 2 * HIDDEN_MS;
}

function showFailures(failures) {
  const times = failures.reduce((sum, each) => sum + each.times, 0);
  byId("failed").textContent = times > 0 ? count(times) : "none";
  table("failures", failures);
}

async function turn() {
  try {
    const [status, sessions, failures, history] = await Promise.all(
      [ask("/status"), askSessions(), ask("/failures"), misses() ? ask("/history") : null]);
    listed = sessions;
    if (history) recall(history, status);
    showStatus(status);
    showSessions();
    showFailures(failures.failures);
  } catch {
    remember({});
    showState("no answer", "bad");
  }
  setTimeout(turn, document.hidden ? HIDDEN_MS : TURN_MS);
}

// There would be nothing else to be seen on a telephone.
const narrow = matchMedia("(max-width: 640px)");
const fold = () => { byId("fold").open = !narrow.matches; };

byId("filter").addEventListener("input", showSessions);
narrow.addEventListener("change", fold);
fold();
turn();
