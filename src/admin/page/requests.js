// Requests to the gateway, and the ways in which one can fail.

const TIMEOUT = 8000;
// The gateway wants this field of changes: pages of others cannot send it.
const OWN = { "X-Lockgate": "1" };

class RequestFailed extends Error {}

class LoginNeeded extends RequestFailed {}

// The network's fault, or the gateway does not run.
class NoAnswer extends RequestFailed {}

// The gateway answers, but with an error.
class Refused extends RequestFailed {}

async function exchange(path, options) {
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch (error) {
    throw new NoAnswer("The gateway does not answer.", { cause: error });
  }
  const { ok, status } = response;
  let answer = {};
  try {
    if (text) answer = JSON.parse(text);
  } catch {
    throw new Refused(`the answer to ${path}, with the status ${status}, is none of a gateway's: a proxy's?`);
  }
  if (ok) return answer;
  const reason = [answer.error, answer.problems].filter(Boolean).join("\n") || `the answer to ${path} has the status ${status}`;
  throw status === 401 ? new LoginNeeded(reason) : new Refused(reason);
}

function get(path) {
  return exchange(path, { signal: AbortSignal.timeout(TIMEOUT) });
}

function post(path, parameters = {}, headers = {}) {
  const query = new URLSearchParams(parameters).toString();
  return exchange(query ? `${path}?${query}` : path, { method: "POST", headers: { ...OWN, ...headers } });
}
