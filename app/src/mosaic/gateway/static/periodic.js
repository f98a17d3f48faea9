// The tasks of each application's beat: the next and the last time, and the host that ran each.

import { now } from "./ages.js";
import { find, h, reconcile, seconds, since, swatch } from "./dom.js";
import { offer, onChoice, wanted } from "./applications.js";
import { follow } from "./net.js";

let list = { beats: [], entries: [] };
const keyOf = (entry) => `${entry.application}/${entry.name}`;

function every(value) {
  if (typeof value === "string") return value;
  return value < 120 ? `${value} s` : `${value / 60} min`;
}

function countdown(entry) {
  if (!entry.next) return "–";
  const left = (new Date(entry.next) - now()) / 1000;
  return left > 0 ? `in ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`}` : "now";
}

function row(entry) {
  const run = entry.last_run;
  const outcome = run && (run.outcome ?? "running");
  return h("tr", { "data-application": entry.application },
    h("th", { scope: "row" }, entry.name, h("span", { class: "soft mono block" }, entry.task)),
    h("td", {}, entry.application),
    h("td", {}, every(entry.every)),
    h("td", { class: "number next", "data-key": keyOf(entry) }, countdown(entry)),
    h("td", { class: "number" }, entry.sent ? since(entry.sent) : "not yet"),
    h("td", { class: "number" }, entry.runs.toLocaleString()),
    h("td", {}, run ? h("span", { class: "hostcount" }, swatch(run.host), `${run.host}, process ${run.pid}`) : h("span", { class: "soft" }, "not yet")),
    h("td", { class: "number" }, run ? seconds(run.seconds) : "–"),
    h("td", {}, run ? h("span", { class: `badge ${outcome}`, title: run.error }, outcome) : "–"));
}

const beatBadge = (beat) => h("li", { class: `badge ${beat.state}` }, `beat of ${beat.application}${beat.host ? ` on ${beat.host}` : ""}: ${beat.reason || beat.state}`);

function show() {
  const entries = list.entries.filter(wanted);
  reconcile(find("beats"), list.beats.filter(wanted), (beat) => beat.application, beatBadge);
  reconcile(find("entries"), entries, keyOf, row);
  find("none").hidden = entries.length > 0;
  find("table").hidden = entries.length === 0;
}

setInterval(() => {
  for (const cell of document.querySelectorAll(".next")) {
    const entry = list.entries.find((one) => keyOf(one) === cell.dataset.key);
    if (entry) cell.textContent = countdown(entry);
  }
}, 500);

onChoice(show);
follow("/api/periodic/events", { periodic: (latest) => {
  list = latest;
  offer(list.applications);
  show();
} });
