// The workers of all applications.

import { find, h, reconcile, since, swatch } from "./dom.js";
import { offer, onChoice, wanted } from "./applications.js";
import { follow } from "./net.js";

let workers = [];

function row(worker) {
  return h("tr", { "data-application": worker.application },
    h("th", { scope: "row" }, worker.name),
    h("td", {}, worker.application),
    h("td", {}, h("span", { class: "hostcount" }, swatch(worker.host), worker.host)),
    h("td", {}, h("span", { class: `badge ${worker.state}` }, h("span", { class: "dot", "aria-hidden": "true" }), worker.state === "late" ? "degraded" : worker.state),
      worker.reason && h("span", { class: "soft block" }, worker.reason)),
    h("td", { class: "number" }, `${worker.busy} of ${worker.concurrency}`),
    h("td", { class: "number" }, worker.state === "up" ? `${worker.rate.toFixed(1)}/s` : "–"),
    h("td", { class: "number" }, worker.heard ? since(worker.heard) : "–"),
    h("td", {}, worker.queues.join(", ")));
}

function show() {
  const rows = workers.filter(wanted);
  reconcile(find("rows"), rows, (worker) => `${worker.application}/${worker.name}@${worker.host}`, row);
  find("none").hidden = rows.length > 0;
  find("table").hidden = rows.length === 0;
}

onChoice(show);
follow("/api/workers/events", { workers: (list) => {
  workers = list.workers;
  offer(list.applications);
  show();
} });
