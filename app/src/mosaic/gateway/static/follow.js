// The way of a part's message: each step with its time, its host and its clock.

import { now } from "./ages.js";
import { find, h, reconcile, seconds, sentence } from "./dom.js";
import { helped } from "./help.js";
import { getJson } from "./net.js";

const { job } = find("job").dataset;
const MEANING = {
  submitted: "The gateway stored the job.",
  confirmed: "The broker had confirmed all messages of the job: a majority of the brokers had stored each one.",
  queued: "The broker put the message of this part into its queue.",
  received: "A worker received the message, and keeps it until a process is free.",
  started: "A pool process began to work.",
  finished: "The result was stored.",
  acknowledged: "The worker acknowledged the message, and the broker deleted it.",
};
const AGAIN_MS = 1000;
let part = 0;
let timer;

const clock = (at) => new Date(at).toISOString().slice(11, 23);

function stepRow(step) {
  return h("tr", { "data-step": step.name },
    h("th", { scope: "row" }, step.name),
    h("td", { class: "mono" }, step.at ? `${clock(step.at)} UTC` : "–"),
    h("td", { class: "number" }, step.after === null ? "–" : step.after < 0 ? `−${seconds(-step.after)}` : seconds(step.after)),
    h("td", {}, step.host ?? "–"),
    h("td", {}, step.at ? step.clock : "–"),
    h("td", { class: "wrap soft" }, MEANING[step.name]));
}

function show(way) {
  let before = null;
  const steps = way.steps.map((step) => {
    const after = step.at && before ? (new Date(step.at) - new Date(before)) / 1000 : null;
    before = step.at ?? before;
    return { ...step, after };
  });
  reconcile(find("steps"), steps, (step) => step.name, stepRow);
  const figures = [["waiting", seconds(way.waiting)], ["working", seconds(way.working)]];
  reconcile(find("follow-figures"), figures, ([name]) => name, ([name, value]) =>
    h("div", { class: "fact" }, h("dt", {}, helped(name)), h("dd", {}, value)));
  find("follow-note").textContent = way.attempt > 1
    ? `This is attempt ${way.attempt}${way.redelivered ? ", and the broker delivered the message again" : ""}.` : "";
}

async function refresh() {
  clearTimeout(timer);
  const asked = part;
  try {
    const way = await getJson(`/api/jobs/${job}/parts/${asked}/journey`);
    if (asked !== part) return;
    show(way);
    // The acknowledgement comes with the next heartbeat of its worker.
    const ended = way.steps.find((step) => step.name === "finished").at;
    const complete = way.steps.at(-1).at || (ended && now() - new Date(ended) > 60 * AGAIN_MS);
    if (!complete) timer = setTimeout(refresh, AGAIN_MS);
  } catch (error) {
    find("steps").replaceChildren();
    find("follow-figures").replaceChildren();
    find("follow-note").textContent = sentence(error.message);
  }
}

// Shows the message of this part.
export function followPart(index) {
  part = index;
  find("follow-part").value = String(index);
  find("follow").scrollIntoView({ block: "nearest" });
  refresh();
}

find("follow-part").addEventListener("input", (event) => {
  if (!/^\d+$/.test(event.target.value)) return;
  part = Number(event.target.value);
  refresh();
});
refresh();
