// What changes the gateway, each after a question.

const NOTICE_TIME = 15000;
let noticeTimer = null;

// Says what came of it, also to screen readers. What went wrong stays until the next change.
function notify(text, kind = "") {
  clearTimeout(noticeTimer);
  if (kind === "good") noticeTimer = setTimeout(() => setText($("notice"), ""), NOTICE_TIME);
  setAttribute($("notice"), "class", `notice ${kind}`);
  setText($("notice"), text);
}

async function change(path, parameters, done) {
  try {
    notify(done(await post(path, parameters)), "good");
  } catch (error) {
    if (!(error instanceof RequestFailed)) console.error(error);
    notify(error.message, "bad");
  }
  refresh();
}

// Resolves to what was chosen; null: nothing.
function ask({ title, text, yes, gentle = false }) {
  const dialog = $("confirm");
  setText($("confirm-title"), title);
  setText($("confirm-text"), text);
  setText($("confirm-yes"), yes);
  $("confirm-gentle-label").hidden = !gentle;
  $("confirm-gentle").checked = true;
  dialog.returnValue = "";
  dialog.showModal();
  $("confirm-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" ? { gentle: $("confirm-gentle").checked } : null),
      { once: true },
    );
  });
}

async function kick(session) {
  const chosen = await ask({
    title: `End session ${session.session}?`,
    text: `${userOf(session)} from ${session.client.address}. Without waiting, running transfers are aborted, and none counts as complete.`,
    yes: "End the session",
    gentle: true,
  });
  if (chosen === null) return;
  const parameters = { id: session.session, after_transfers: chosen.gentle };
  await change("/sessions/kick", parameters, () =>
    chosen.gentle ? `Session ${session.session} ends after its transfers.` : `Session ${session.session} was ended.`);
}

async function drainServer({ server, drained, sessions }) {
  if (drained) return change("/backends/undrain", { server }, () => `The server ${server} is used again.`);
  const chosen = await ask({
    title: `Drain the server ${server}?`,
    text: `It gets no new sessions. Its ${plural(sessions, "session")} go on.`,
    yes: "Drain the server",
  });
  if (chosen !== null) await change("/backends/drain", { server }, () => `The server ${server} gets no new sessions.`);
}

async function liftBan({ source }) {
  const chosen = await ask({ title: `Lift the ban of ${source}?`, text: "Its next login is answered at once.", yes: "Lift the ban" });
  // Of a network: any of its addresses.
  if (chosen !== null) await change("/bans/lift", { address: source.split("/")[0] }, () => `The ban of ${source} was lifted.`);
}

async function reloadConfiguration() {
  const chosen = await ask({
    title: "Read the configuration again?",
    text: "If it is valid, it is in force at once for new connections and logins. Otherwise nothing changes.",
    yes: "Read it again",
  });
  if (chosen === null) return;
  await change("/reload", {}, ({ warnings }) => ["The configuration was read again and is in force.", ...warnings].join("\n"));
}

async function drainGateway() {
  const chosen = await ask({
    title: "Drain this gateway?",
    text: "It stops: soon no new session is accepted, running transfers may finish, then the process ends. This cannot be undone from here.",
    yes: "Drain and stop",
  });
  if (chosen !== null) await change("/drain", {}, () => "The drain has begun.");
}

async function logOut() {
  await post("/logout").catch(() => {});
  showLogin("");
}

function connectActions() {
  $("reload").addEventListener("click", reloadConfiguration);
  $("drain").addEventListener("click", drainGateway);
  $("logout").addEventListener("click", logOut);
  $("confirm-yes").addEventListener("click", () => $("confirm").close("yes"));
  $("confirm-no").addEventListener("click", () => $("confirm").close(""));
  $("login").addEventListener("submit", logIn);
}

async function logIn(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  // No field of a request can have others.
  if (!/^[\x20-\x7e]*$/.test(token)) return showLogin("A token has ASCII characters only.");
  try {
    await post("/login", {}, { Authorization: `Bearer ${token}` });
  } catch (error) {
    return showLogin(error.message);
  }
  $("token").value = "";
  refresh();
}
