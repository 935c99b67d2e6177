// A session with Node's tls: arguments are host, port, "implicit" or "starttls", the groups in
// order, and perhaps the files of a certificate and its key.
const fs = require("fs");
const net = require("net");
const tls = require("tls");

const [host, port, kind, groups, certificate, key] = process.argv.slice(2);
const options = {rejectUnauthorized: false, minVersion: "TLSv1.3"};
if (groups) options.ecdhCurve = groups;
if (certificate) Object.assign(options, {cert: fs.readFileSync(certificate), key: fs.readFileSync(key)});

let heard = "";
let answered = () => {};

function listen(socket) {
  socket.setEncoding("latin1");
  socket.on("data", (data) => { heard += data; answered(); });
  socket.on("error", (error) => { console.error(error); process.exit(1); });
  socket.on("end", () => { console.error("closed, after " + heard); process.exit(1); });
}

// Resolves with the next reply, whose code must be this one.
function reply(code) {
  return new Promise((resolve) => {
    answered = () => {
      const whole = /^(\d{3}-.*\r\n)*(\d{3}) .*\r\n/.exec(heard);
      if (!whole) return;
      answered = () => {};
      heard = heard.slice(whole[0].length);
      if (whole[2] !== code) { console.error("not " + code + ": " + whole[0]); process.exit(1); }
      resolve();
    };
    answered();
  });
}

async function main() {
  let socket = net.connect(port, host);
  if (kind === "starttls") {
    listen(socket);
    await reply("220");
    socket.write("STARTTLS\r\n");
    await reply("220");
    socket.removeAllListeners();
  }
  socket = tls.connect({...options, socket});
  listen(socket);
  if (kind === "implicit") await reply("220");
  for (const [command, code] of [["EHLO client.example", "250"], ["NOOP", "250"], ["QUIT", "221"]]) {
    socket.write(command + "\r\n");
    await reply(code);
  }
  process.exit(0);
}

main();
