// Requests and event streams. Errors are one sentence.

import { seen } from "./ages.js";

export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refusal(0, "the gateway does not answer; check that the lab is up.");
  }
  if (answer.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    throw new Refusal(401, "login is required.");
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Refusal(answer.status, body.error || `the gateway answered ${answer.status}.`);
  }
  return answer;
}

export const getJson = async (path) => (await request(path)).json();

export const postJson = async (path, body) => (await request(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
})).json();

const SILENCE_MS = 12000;
const LONGEST_PAUSE_MS = 5000;

// Follows an event stream while the page is open. `handlers` maps kinds of events to functions of their data;
// `onstate(connected)` is called when the connection is lost or back. A browser reconnects after a lost connection, but
// not after an error response or when no data arrives. Then this opens a new stream that resumes after the last id.
export function follow(path, handlers, onstate = () => {}) {
  let source;
  let last = "";
  let failures = 0;
  let watchdog;
  let ended = false;

  function heard() {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENCE_MS);
  }

  function open() {
    const url = new URL(path, location);
    if (last) url.searchParams.set("after", last);
    source = new EventSource(url);
    const listen = (kind, handle) => source.addEventListener(kind, (event) => {
      if (event.lastEventId) last = event.lastEventId;
      failures = 0;
      heard();
      handle(JSON.parse(event.data), event);
    });
    listen("alive", () => onstate(true));
    listen("age", ({ ages, at }) => { onstate(true); seen(ages, at); });
    for (const [kind, handle] of Object.entries(handlers)) {
      listen(kind, (data, event) => { onstate(true); handle(data, event); });
    }
    source.addEventListener("error", () => {
      onstate(false);
      if (source.readyState === EventSource.CLOSED) again();
    });
    heard();
  }

  function again() {
    clearTimeout(watchdog);
    source.close();
    if (ended) return;
    onstate(false);
    failures += 1;
    if (failures === 2) fetch("/api/lab", { cache: "no-store" }).then((answer) => {
      if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    }).catch(() => {});
    watchdog = setTimeout(open, Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures));
  }

  open();
  return {
    close() {
      ended = true;
      clearTimeout(watchdog);
      source.close();
    },
  };
}
