// Log records, live, through a queue with the binding patterns shown here.

import { find, h, moment, sentence, swatch, time } from "./dom.js";
import { follow } from "./net.js";

const SHOWN = 600;
const severities = find("logs").dataset.severities.split(",");
const form = find("filter");
let stream;
let seen = new Map();
let paused = false;
let held = [];

// One binding for each severity: topic patterns cannot compare severities.
function patternsOf() {
  const host = form.elements.host.value || "*";
  const least = form.elements.severity.value;
  if (!least) return [host === "*" ? "#" : `${host}.#`];
  return severities.slice(0, severities.indexOf(least) + 1).map((severity) => `${host}.${severity}`);
}

function line(record) {
  return h("li", { class: record.severity },
    h("time", { datetime: record.at, title: moment(record.at) }, time(record.at)),
    h("span", { class: "hostcount" }, swatch(record.host), record.host),
    h("span", { class: "severity" }, record.severity),
    h("span", { class: "unit", title: record.unit }, record.unit.replace(/\.service$/, "")),
    h("span", { class: "text" }, record.message));
}

function add(records) {
  const list = find("logs");
  const fresh = records.filter((record) => !seen.has(record.id));
  for (const record of fresh) seen.set(record.id, true);
  if (seen.size > 5000) seen = new Map([...seen].slice(-3000));
  // The newest record is the last one, so that a traceback reads downwards. A reader who scrolled up stays there.
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(...fresh.map(line));
  while (list.children.length > SHOWN) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  find("none").hidden = list.children.length > 0;
}

function take(records) {
  if (!paused) return add(records);
  held.push(...records);
  find("pause").textContent = `Resume (${held.length} new)`;
}

function open(patterns) {
  stream?.close();
  find("logs").replaceChildren();
  find("none").hidden = false;
  find("problem").hidden = true;
  seen = new Map();
  held = [];
  const query = new URLSearchParams(patterns.map((pattern) => ["pattern", pattern]));
  history.replaceState(null, "", `?${query}`);
  stream = follow(`/api/logs/events?${query}`, {
    logs: take,
    tail: ({ live }) => { find("live").textContent = live ? "live" : "waiting for the broker"; find("live").className = `badge ${live ? "up" : "late"}`; },
  }, (connected) => { if (!connected) { find("live").textContent = "connecting"; find("live").className = "badge late"; } });
}

const split = (text) => text.split(/[\s,]+/).filter(Boolean);

function apply(patterns) {
  const bad = patterns.find((pattern) => !/^([\w-]+|\*|#)(\.([\w-]+|\*|#))*$/.test(pattern));
  const problem = bad ? `${bad} is no binding pattern: write words between dots, * for one word, # for any number.` : patterns.length > 16 ? "at most 16 patterns are possible." : "";
  find("problem").textContent = sentence(problem);
  find("problem").hidden = !problem;
  if (!problem) open(patterns.length ? patterns : ["#"]);
}

for (const name of ["host", "severity"]) {
  form.elements[name].addEventListener("change", () => {
    form.elements.patterns.value = patternsOf().join(" ");
    apply(patternsOf());
  });
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  apply(split(form.elements.patterns.value));
});
find("pause").addEventListener("click", () => {
  paused = !paused;
  find("pause").textContent = paused ? "Resume" : "Pause";
  find("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) { add(held); held = []; }
});

const asked = new URLSearchParams(location.search).getAll("pattern");
const first = asked.length ? asked : patternsOf();
form.elements.patterns.value = first.join(" ");
apply(first);
