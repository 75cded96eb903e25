// What each section shows, from the gateway's answers.

const bySession = { label: "Session", main: true, text: sessionOf, sort: (row) => row.session };

// A session of a process before this one has that, too.
function sessionOf({ session, process }) {
  return process === page.process ? String(session) : `${session} in process ${process}`;
}

function named(label, key, more = {}) {
  const text = (row) => String(row[key] ?? "–");
  return { label, text, sort: text, ...more };
}

function userOf(session) {
  if (session.user === null || session.user === undefined) return "–";
  return session.logged_in === false ? `${session.user} (not logged in)` : session.user;
}

function button(label, name, action) {
  return element("button", { type: "button", class: "small", "aria-label": name, onclick: action }, label);
}

// A cell with one button, made once.
function drawButton(label, name, action) {
  return (cell, row) => {
    cell.row = row;
    if (!cell.firstChild) cell.append(button(label, "", () => action(cell.row)));
    setAttribute(cell.firstChild, "aria-label", name(row));
  };
}

function drawProgress(cell, transfer) {
  if (!cell.firstChild) {
    cell.append(element("span", { class: "num" }), element("progress", { max: "1" }));
  }
  const [text, bar] = cell.children;
  const known = Number.isFinite(transfer.size) && transfer.size > 0;
  bar.hidden = !known;
  if (known) {
    const part = Math.min(1, transfer.bytes / transfer.size);
    bar.value = part;
    setAttribute(bar, "aria-label", `${transfer.path}: ${Math.floor(part * 100)} percent`);
    setText(text, `${bytes(transfer.bytes)} of ${bytes(transfer.size)}`);
  } else {
    setText(text, bytes(transfer.bytes));
  }
}

function makeSections() {
  const transfers = new Table($("transfers"), {
    caption: "Running transfers",
    key: (row) => `${row.session} ${row.operation} ${row.since} ${row.path}`,
    empty: "No transfer is running.",
    sortedBy: 5,
    descending: true,
    columns: [
      { label: "Path", main: true, wide: true, text: (row) => row.path, sort: (row) => row.path },
      { label: "Direction", text: (row) => (row.direction === "upload" ? "↑ upload" : "↓ download"), sort: (row) => row.direction },
      named("User", "user", { wide: true }),
      named("Backend", "backend"),
      { label: "Moved", number: true, draw: drawProgress, sort: (row) => row.bytes },
      { label: "Rate", number: true, text: (row) => rate(row.rate), sort: (row) => row.rate },
      { label: "For", number: true, text: (row) => duration(row.seconds), sort: (row) => row.seconds },
      { label: "Session", number: true, text: sessionOf, sort: (row) => row.session },
    ],
  });
  const sessions = new Table($("sessions"), {
    caption: "Open sessions",
    key: (row) => row.session,
    empty: "Nobody is connected.",
    sortedBy: 0,
    columns: [
      bySession,
      { label: "User", wide: true, text: userOf, sort: userOf },
      { label: "Client", text: (row) => row.client.address, sort: (row) => row.client.address },
      named("Protocol", "protocol"),
      named("Listener", "listener"),
      { label: "Backend", text: (row) => row.backend?.name ?? "–", sort: (row) => row.backend?.name ?? "" },
      { label: "State", draw: drawState, sort: (row) => row.state },
      { label: "For", number: true, text: (row) => duration(row.seconds), sort: (row) => row.seconds },
      { label: "Up", number: true, text: (row) => bytes(row.uploaded_bytes), sort: (row) => row.uploaded_bytes },
      { label: "Down", number: true, text: (row) => bytes(row.downloaded_bytes), sort: (row) => row.downloaded_bytes },
      { label: "", draw: drawButton("End", (row) => `End session ${row.session} of ${userOf(row)}`, kick) },
    ],
  });
  const backends = new Table($("backends"), {
    caption: "Servers of the backends",
    key: (row) => row.server,
    empty: "There are no servers.",
    columns: [
      { ...named("Server", "server"), main: true },
      { label: "State", draw: drawServerState, sort: (row) => (row.drained ? "drained" : row.state) },
      { label: "Since", text: (row) => since(row.since), sort: (row) => row.since },
      { label: "Sessions", number: true, text: (row) => (row.sessions_max ? `${row.sessions} of ${row.sessions_max}` : String(row.sessions)), sort: (row) => row.sessions },
      { label: "Last error", wide: true, text: (row) => (row.last_error ? `${clock(row.last_error.at)} ${row.last_error.reason}` : "–") },
      { label: "", draw: drawServerButton },
    ],
  });
  const failures = new Table($("failures"), {
    caption: "The last denials and failures",
    key: (row) => row.number,
    empty: "Nothing has failed or was denied since the start.",
    columns: [
      { label: "Time", main: true, text: (row) => clock(row.time), sort: (row) => row.time },
      { label: "What", text: (row) => row.operation, sort: (row) => row.operation },
      { label: "Path", wide: true, text: (row) => (row.to ? `${row.path} to ${row.to}` : (row.path ?? "–")), sort: (row) => row.path ?? "" },
      named("User", "user", { wide: true }),
      named("Client", "client"),
      { label: "Fault", draw: drawFault, sort: (row) => row.fault },
      named("Rule", "rule"),
      { label: "Reason", wide: true, text: (row) => row.reason },
      { label: "Session", number: true, text: (row) => String(row.session), sort: (row) => row.session },
    ],
  });
  const bans = new Table($("bans"), {
    caption: "Banned addresses",
    key: (row) => row.source,
    empty: "No address is banned.",
    columns: [
      { ...named("Address", "source"), main: true },
      { label: "Failed logins", number: true, text: (row) => String(row.failures), sort: (row) => row.failures },
      { label: "Ends in", number: true, text: (row) => duration(row.remaining_seconds), sort: (row) => row.remaining_seconds },
      { label: "", draw: drawButton("Lift", (row) => `Lift the ban of ${row.source}`, liftBan) },
    ],
  });
  const listeners = new Table($("listeners"), {
    caption: "Listeners",
    key: (row) => row.listener,
    empty: "There are no listeners.",
    columns: [
      { ...named("Listener", "listener"), main: true },
      named("Protocol", "protocol"),
      { label: "Addresses", wide: true, text: (row) => row.addresses.join(", ") },
      { label: "Sessions", number: true, text: (row) => String(row.sessions), sort: (row) => row.sessions },
    ],
  });
  const expected = new Table($("expected"), {
    caption: "Expected files",
    key: (row) => row.name,
    empty: "No files are expected (expect).",
    columns: [
      { ...named("Name", "name"), main: true },
      { label: "State", draw: drawExpectedState, sort: (row) => row.state },
      { label: "Arrived", number: true, text: (row) => `${row.arrived} of ${row.at_least}`, sort: (row) => row.arrived / row.at_least },
      { label: "Due", wide: true, text: (row) => `${row.due_local} ${row.zone}${untilDue(row)}`, sort: (row) => row.due },
      { label: "Last file", wide: true, text: (row) => (row.last_file ? `${clock(row.last_file.at)} ${row.last_file.path}` : "–") },
    ],
  });
  const limits = new Table($("limits"), {
    caption: "Limits of users and their use",
    key: (row) => `${row.limit} ${row.kind}`,
    empty: "The configuration has no limits of users (policy.limits).",
    columns: [
      { ...named("Limit", "limit"), main: true },
      named("Of", "kind"),
      { label: "Used", number: true, draw: drawUse, sort: (row) => row.used / row.max },
      { label: "At most", number: true, text: (row) => amount(row.kind, row.max), sort: (row) => row.max },
      { label: "By", wide: true, text: (row) => row.of ?? "–", sort: (row) => row.of ?? "" },
    ],
  });
  const certificates = new Table($("certificates"), {
    caption: "Certificates that the configuration names",
    key: (row) => `${row.used_by} ${row.kind} ${row.file}`,
    empty: "The configuration names no certificate.",
    columns: [
      { ...named("File", "file"), main: true, wide: true },
      named("Kind", "kind"),
      named("Used by", "used_by"),
      { label: "Ends", text: (row) => (row.until ? day(row.until) : "–"), sort: (row) => row.seconds_left },
      { label: "Left", draw: drawLeft, sort: (row) => row.seconds_left },
    ],
  });
  const chart = new Chart($("throughput"));
  const ports = new PortMap($("ports-legend"), $("ports"));
  return { transfers, sessions, backends, failures, bans, listeners, expected, limits, certificates, chart, ports };
}

function drawState(cell, session) {
  if (!cell.firstChild) cell.append(element("span"));
  const kind = { transferring: "good", ending: "bad", "before-login": "quiet" }[session.state] ?? "plain";
  const idle = session.state === "idle" ? ` ${duration(session.idle_seconds ?? 0)}` : "";
  setBadge(cell.firstChild, kind, session.ending ? `ending: ${session.ending}` : session.state + idle);
}

function drawServerState(cell, server) {
  if (!cell.firstChild) cell.append(element("span"));
  const [kind, text] = server.drained ? ["warn", "drained"] : server.state === "up" ? ["good", "up"] : ["bad", "down"];
  setBadge(cell.firstChild, kind, text);
}

function drawExpectedState(cell, entry) {
  if (!cell.firstChild) cell.append(element("span"));
  const kind = { complete: "good", overdue: "bad", late: "warn" }[entry.state] ?? "plain";
  setBadge(cell.firstChild, kind, entry.state);
}

function amount(kind, value) {
  if (/bandwidth$/.test(kind)) return rate(value);
  if (/bytes/.test(kind)) return bytes(value);
  return kind === "operations" ? `${Number(value.toFixed(1))}/s` : Number(value.toFixed(1)).toLocaleString("en");
}

function drawUse(cell, { limit, kind, used, max }) {
  if (!cell.firstChild) {
    cell.append(element("span", { class: "num" }), element("meter", { min: "0", max: "1", low: "0.7", high: "0.9", optimum: "0" }));
  }
  const [text, bar] = cell.children;
  const part = max > 0 ? used / max : 1;
  setText(text, `${amount(kind, used)} (${percent(part)})`);
  setAttribute(bar, "aria-label", `${limit}, ${kind}: ${percent(part)} used`);
  bar.value = Math.min(1, part);
}

// As `lockgate check` warns.
function drawLeft(cell, { seconds_left: left }) {
  if (!cell.firstChild) cell.append(element("span"));
  const days = Math.floor(left / 86400);
  const kind = left < 0 ? "bad" : days < 30 ? "warn" : "good";
  setBadge(cell.firstChild, kind, left < 0 ? "has ended" : plural(days, "day"));
}

function untilDue({ state, due }) {
  const left = (Date.parse(due) - Date.now()) / 1000;
  if (state === "overdue") return `, ${duration(-left)} ago`;
  return state === "waiting" && left > 0 ? `, in ${duration(left)}` : "";
}

function drawServerButton(cell, server) {
  cell.row = server;
  if (!cell.firstChild) cell.append(button("", "", () => drainServer(cell.row)));
  setText(cell.firstChild, server.drained ? "Use again" : "Drain");
  setAttribute(cell.firstChild, "aria-label", server.drained ? `Use the server ${server.server} again` : `Drain the server ${server.server}`);
}

function drawFault(cell, failure) {
  if (!cell.firstChild) cell.append(element("span"));
  const kind = { policy: "warn", backend: "bad", gateway: "bad" }[failure.fault] ?? "plain";
  setBadge(cell.firstChild, kind, failure.fault);
}

function since(time) {
  return `${clock(time)} (${duration((Date.now() - Date.parse(time)) / 1000)})`;
}

// A number with how near it is to its limit.
function tile(label, value, { of = null, note = "", kind = "" } = {}) {
  const parts = [element("dt", {}, label), element("dd", { class: "value num" }, value)];
  if (of !== null && of.max > 0) {
    const part = Math.min(1, of.used / of.max);
    const bar = element("meter", { min: "0", max: "1", low: "0.7", high: "0.9", optimum: "0", "aria-label": `${label}: ${Math.round(part * 100)} percent of the limit` });
    bar.value = part;
    parts.push(element("dd", {}, bar));
  }
  if (note) parts.push(element("dd", { class: "muted num" }, note));
  return element("dl", { class: `tile ${kind}` }, ...parts);
}

function showTiles(status, running, expected) {
  const { sessions, servers, data_ports: pools } = status;
  const states = Object.entries(sessions.states).filter(([, count]) => count > 0);
  const before = status.processes_before.reduce((sum, process) => sum + process.sessions, 0);
  const fullest = pools
    .map((pool) => ({ ...pool, part: pool.fullness }))
    .sort((a, b) => b.part - a.part || b.active - a.active)[0];
  const tiles = [
    tile("Sessions", sessions.open.toLocaleString("en"), {
      of: { used: sessions.open, max: sessions.max },
      note: `of ${sessions.max.toLocaleString("en")}${states.length ? `: ${states.map(([name, count]) => `${count} ${name}`).join(", ")}` : ""}${before > 0 ? `; and ${before} in processes before this one` : ""}`,
    }),
    tile("Transfers", String(running), { note: `${unbroken(`↑ ${rate(sessions.upload_rate)}`)}  ${unbroken(`↓ ${rate(sessions.download_rate)}`)}` }),
    tile("Backend servers", `${servers.up} up`, {
      kind: servers.down > 0 ? "bad" : "",
      note: [servers.down > 0 ? `${servers.down} down` : "", servers.drained > 0 ? `${servers.drained} drained` : ""].filter(Boolean).join(", ") || "none down",
    }),
    fullest
      ? tile("Data ports", `${fullest.active} in use`, {
          of: { used: fullest.part, max: 1 },
          note: `${fullest.pool}: ${percent(fullest.part)} full for the busiest address, ${fullest.reserved} reserved of ${plural(fullest.ports, "port")}${fullest.waiting > 0 ? `, ${fullest.waiting} waiting` : ""}`,
        })
      : tile("Data ports", "none"),
    tile("Banned addresses", String(status.bans)),
    tile("Running for", duration(status.seconds), { note: `since ${clock(status.started)}, process ${status.process}` }),
  ];
  const late = expected.filter((entry) => entry.state === "overdue").length;
  if (expected.length > 0) {
    const done = expected.filter((entry) => entry.state === "complete" || entry.state === "late").length;
    tiles.splice(4, 0, tile("Expected files", late > 0 ? `${late} overdue` : `${done} of ${expected.length}`, {
      kind: late > 0 ? "bad" : "",
      note: late > 0 ? expected.filter((entry) => entry.state === "overdue").map((entry) => entry.name).join(", ") : "have arrived",
    }));
  }
  $("tiles").replaceChildren(...tiles);
}
