// Asks the gateway every two seconds while the page is visible, and shows what it answered.

const INTERVAL = 2000;

const page = { sections: null, process: null, timer: null, running: false, again: false, last: null, configured: null, texts: {} };

// Now, unless it runs already; then once more after it.
async function refresh() {
  if (page.running) {
    page.again = true;
    return;
  }
  clearTimeout(page.timer);
  page.running = true;
  const started = performance.now();
  let goesOn = true;
  try {
    await update();
    page.last = Date.now();
    connected();
  } catch (error) {
    if (error instanceof LoginNeeded) {
      goesOn = false;
      showLogin("");
    } else {
      failed(error);
    }
  }
  page.running = false;
  const took = performance.now() - started;
  if (page.again) {
    page.again = false;
    refresh();
  } else if (goesOn && !document.hidden) {
    // A busy gateway is asked less often.
    page.timer = setTimeout(refresh, Math.max(INTERVAL, 4 * took));
  }
}

async function update() {
  const overview = await get("/overview");
  const { process, configuration } = overview.status;
  const configured = `${process} ${configuration.in_force_since}`;
  // It is asked for only if it is another one.
  if (page.configured !== configured) {
    showConfiguration(await get("/configuration"));
    page.configured = configured;
  }
  $("login").hidden = true;
  $("data").hidden = false;
  $("actions").hidden = false;
  page.sections ??= makeSections();
  show(overview);
}

function show({ status, sessions, transfers, throughput, ports, backends, failures, bans, certificates, expected, limits }) {
  const { sections } = page;
  page.process = status.process;
  setText($("version"), status.version);
  showTiles(status, transfers.running, expected.expected);
  sections.chart.update(throughput);
  showFiltered("transfers", transfers.transfers, transfers.running, (row) => [row.path, row.user, row.client, row.backend, row.direction, row.protocol]);
  showFiltered("sessions", sessions.sessions, sessions.open, (row) => [sessionOf(row), row.user, row.client.address, row.state, row.protocol, row.listener, row.backend?.name]);
  showFiltered("failures", numbered(failures.failures), failures.failures.length, (row) => [row.operation, row.path, row.to, row.user, row.client, row.fault, row.rule, row.reason, row.outcome]);
  showUnanswered(sessions.processes_before);
  sections.backends.update(backends.servers);
  setText($("backends-count"), plural(backends.servers.length, "server"));
  sections.ports.update(ports.pools);
  sections.bans.update(bans.bans);
  setText($("bans-count"), bans.bans.length ? plural(bans.bans.length, "address", "addresses") : "");
  sections.listeners.update(status.listeners);
  sections.expected.update(expected.expected);
  sections.limits.update(limits.limits);
  showDrain(status.drain);
  sections.certificates.update(certificates.certificates);
}

// An identity for what has none: how many there were of the same.
function numbered(failures) {
  const seen = new Map();
  return [...failures].reverse().map((failure) => {
    const same = `${failure.time} ${failure.session} ${failure.operation} ${failure.path}`;
    seen.set(same, (seen.get(same) ?? 0) + 1);
    return { ...failure, number: `${same} ${seen.get(same)}` };
  }).reverse();
}

function showFiltered(name, rows, all, text) {
  const words = $(`${name}-filter`).value;
  const found = filtered(rows, words, text);
  page.texts[name] = () => showFiltered(name, rows, all, text);
  const note = words && rows.length > 0 ? "None has all of these words." : page.sections[name].empty;
  page.sections[name].update(found, note);
  const part = words || rows.length < all;
  setText($(`${name}-count`), part ? `${found.length} of ${all}` : all > 0 ? String(all) : "");
}

// Their sessions and transfers are missing.
function showUnanswered(processes) {
  const silent = processes.filter(({ error }) => error !== null);
  $("unanswered").hidden = silent.length === 0;
  setText($("unanswered"), silent.map(({ process, sessions, error }) =>
    `Process ${process} before this one, with ${plural(sessions, "session")}, does not answer: ${error}.`).join("\n"));
}

function showDrain({ phase, seconds_left: left }) {
  const wait = left === null ? "" : ` (${duration(left)} left)`;
  const text = {
    serving: "Serving",
    accepting: `Draining: still accepting${wait}`,
    draining: `Draining: no new sessions${wait}`,
    aborting: "Draining: cutting transfers",
  }[phase];
  showState(phase === "serving" ? "good" : "warn", text ?? phase);
  $("drain").disabled = phase !== "serving";
}

function showConfiguration({ file, in_force_since: time, needs_restart: keys, configuration }) {
  setText($("configuration-about"), `${file ?? "no file"}, since ${clock(time)}`);
  $("configuration-restart").hidden = keys.length === 0;
  setText($("configuration-restart"), keys.length ? `The file has changed in ${keys.join(", ")}, which applies after a restart.` : "");
  setText($("configuration"), JSON.stringify(configuration, null, 2));
}

function showState(kind, text) {
  setAttribute($("state"), "data-state", kind);
  setText($("state"), text);
}

function connected() {
  if (!$("lost").hidden) {
    $("lost").hidden = true;
    $("lost").textContent = "";
    notify("The page is up to date again.", "good");
  }
  document.body.classList.remove("stale");
  document.title = `lockgate on ${location.host}`;
  setText($("updated"), `as of ${clock(page.last)}`);
}

function failed(error) {
  const [state, text] =
    error instanceof NoAnswer ? ["No answer", error.message]
    : error instanceof Refused ? ["Refused", `The gateway refuses: ${error.message}.`]
    : ["Error", `This page has an error: ${error.message}.`];
  if (!(error instanceof RequestFailed)) console.error(error);
  document.body.classList.add("stale");
  document.title = `${state}: lockgate`;
  showState("bad", state);
  const then = page.last === null ? "It is asked again every two seconds." : `What you see is as of ${clock(page.last)}.`;
  $("lost").hidden = false;
  // Read aloud once, as it does not change.
  setText($("lost"), `${text} ${then}`);
}

function showLogin(problem) {
  clearTimeout(page.timer);
  $("data").hidden = true;
  $("actions").hidden = true;
  $("lost").hidden = true;
  document.body.classList.remove("stale");
  document.title = "Log in: lockgate";
  setText($("updated"), "");
  setText($("version"), "");
  setText($("notice"), "");
  showState("wait", "Not logged in");
  $("login").hidden = false;
  setText($("login-error"), problem);
  setAttribute($("token"), "aria-invalid", String(problem !== ""));
  $("token").focus();
}

connectActions();
for (const name of ["transfers", "sessions", "failures"]) {
  $(`${name}-filter`).addEventListener("input", () => page.texts[name]?.());
}
document.addEventListener("visibilitychange", () => {
  clearTimeout(page.timer);
  if (!document.hidden && $("login").hidden) refresh();
});
refresh();
