// Beat's tasks: the next and the last time, and the host that ran each.

import { ago, find, h, reconcile, seconds, swatch } from "./dom.js";
import { follow } from "./net.js";

let entries = [];

function every(value) {
  return value < 120 ? `${value} s` : `${value / 60} min`;
}

function countdown(entry) {
  const left = (new Date(entry.next) - Date.now()) / 1000;
  return left > 0 ? `in ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`}` : "now";
}

function row(entry) {
  const run = entry.last_run;
  const outcome = run && (run.outcome ?? "running");
  return h("tr", {},
    h("th", { scope: "row" }, entry.name, h("span", { class: "soft mono block" }, entry.task)),
    h("td", {}, every(entry.every)),
    h("td", { class: "number next", "data-name": entry.name }, countdown(entry)),
    h("td", { class: "number" }, entry.sent ? `${ago(entry.sent)} ago` : "not yet"),
    h("td", { class: "number" }, entry.runs.toLocaleString()),
    h("td", {}, run ? h("span", { class: "hostcount" }, swatch(run.host), `${run.host}, process ${run.pid}`) : h("span", { class: "soft" }, "not yet")),
    h("td", { class: "number" }, run ? seconds(run.seconds) : "–"),
    h("td", {}, run ? h("span", { class: `badge ${outcome}`, title: run.error }, outcome) : "–"));
}

function show(list) {
  entries = list.entries;
  const { beat } = list;
  find("beat").className = `badge ${beat?.state ?? "unknown"}`;
  find("beat").textContent = beat?.host ? `beat on ${beat.host}: ${beat.reason || beat.state}` : `beat: ${beat?.reason || "unknown"}`;
  reconcile(find("entries"), entries, (entry) => entry.name, row);
  find("none").hidden = entries.length > 0;
  find("table").hidden = entries.length === 0;
}

setInterval(() => {
  for (const cell of document.querySelectorAll(".next")) {
    const entry = entries.find((one) => one.name === cell.dataset.name);
    if (entry) cell.textContent = countdown(entry);
  }
}, 500);

follow("/api/periodic/events", { periodic: show });
