// One job, live: its picture or result, its hosts, its attempts.

import { followPart } from "./follow.js";
import { find, h, reconcile, seconds, sentence, swatch, time } from "./dom.js";
import { follow, getJson, request } from "./net.js";
import { complain, say } from "./shell.js";

const { job: id, script } = find("job").dataset;
const params = JSON.parse(find("job").dataset.params);
// The functions of the job's kind, all optional: `tiles` and `parts` for new ones, `done` at the end.
const result = script ? (await import(script)).begin({ id, params }) : {};
let job = null;

function legend() {
  reconcile(find("legend"), Object.entries(job.by_host), ([host]) => host, ([host, parts]) =>
    h("li", { "data-host": host, "data-count": parts }, swatch(host), h("span", {}, host), h("b", {}, String(parts))));
}

// Only parts of several minutes report their progress.
const reporting = new Map();
function showProgress(parts) {
  for (const part of parts.filter((one) => one.progress !== null)) {
    const { part: index, state, host, progress } = part;
    reporting.set(index, { index, state, host, percent: Math.floor(100 * progress) });
  }
  reconcile(find("parts"), [...reporting.values()].sort((a, b) => a.index - b.index), ({ index }) => index, partRow);
  find("parts").hidden = reporting.size === 0;
}

function partRow({ index, state, host, percent }) {
  return h("li", { "data-part": index, "data-percent": percent },
    h("span", {}, `Part ${index}`),
    h("progress", { max: 100, value: percent, "aria-label": `Part ${index}` }),
    h("b", {}, `${percent} %`),
    h("span", { class: "hostcount" }, swatch(host), host),
    h("span", { class: `badge ${state}` }, state));
}

function describe() {
  const rate = job.seconds > 0 ? (job.done / job.seconds).toFixed(1) : "0";
  find("progress").value = job.progress;
  find("state").textContent = job.state;
  find("state").className = `badge ${job.state}`;
  find("counts").textContent = `${job.done} of ${job.total} parts in ${seconds(job.seconds)}, ${rate} a second`;
  find("problem").textContent = job.error ? sentence(job.error) : "";
  find("problem").hidden = !job.error;
  find("cancel").hidden = job.state !== "running";
  if (find("download")) find("download").hidden = job.state !== "done";
}

let asking = false;
let stale = false;
async function refreshAttempts() {
  stale = true;
  if (asking) return;
  asking = true;
  while (stale) {
    stale = false;
    try {
      const { attempts } = await getJson(`/api/jobs/${id}/attempts?limit=200`);
      reconcile(find("attempts"), attempts, (one) => `${one.part}.${one.number}.${one.started}`, attemptRow);
      find("more").hidden = attempts.length < 200;
    } catch (error) {
      complain(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  asking = false;
}

function attemptRow(one) {
  const outcome = one.outcome ?? "running";
  const state = { done: "done", failed: "failed", running: "running", lost: "late" }[outcome] ?? "";
  return h("tr", {},
    h("td", { class: "number" }, h("button", { type: "button", class: "quiet", "data-action": `follow ${one.part}`, "aria-label": `Follow the message of part ${one.part}`, onclick: () => followPart(one.part) }, String(one.part))),
    h("td", { class: "number" }, String(one.number)),
    h("td", {}, h("span", { class: "hostcount" }, swatch(one.host), one.host)),
    h("td", { class: "number mono" }, String(one.pid)),
    h("td", {}, time(one.started)),
    h("td", { class: "number" }, seconds(one.seconds)),
    h("td", {}, h("span", { class: `badge ${state}` }, outcome)),
    h("td", { class: "wrap soft" }, remarks(one).filter(Boolean).join("; ")));
}

const remarks = (one) => [
  one.redelivered && "delivered again",
  one.began !== null && `resumed at ${Math.floor(100 * one.began)} %, computed at most ${seconds(one.again)} again`,
  one.error,
];

const attempted = new Map();
function takeParts(parts) {
  result.parts?.(parts);
  showProgress(parts);
  if (parts.some((part) => part.state !== "accepted")) find("ahead").hidden = true;
  const known = parts.every((part) => attempted.get(part.part) === `${part.state} ${part.attempts}`);
  for (const part of parts) attempted.set(part.part, `${part.state} ${part.attempts}`);
  if (!known) refreshAttempts();
}

function takeJob(summary) {
  job = summary;
  describe();
  legend();
  if (job.state === "running") return;
  stream.close();
  find("ahead").hidden = true;
  refreshAttempts();
  // Pages with a growing picture have no such element.
  if (find("waiting")) find("waiting").hidden = true;
  if (job.state !== "done") return;
  Promise.resolve(result.done?.(job)).catch(complain);
}

function takeAhead({ parts }) {
  find("ahead").textContent = `Waiting behind ${parts} ${parts === 1 ? "part" : "parts"} of other jobs in this queue.`;
  find("ahead").hidden = parts === 0;
}

const stream = follow(`/api/jobs/${id}/events${result.tiles ? "?tiles=true" : ""}`, {
  tiles: (tiles) => result.tiles(tiles),
  parts: takeParts,
  job: takeJob,
  ahead: takeAhead,
  gone: () => { stream.close(); say("this job was deleted."); },
});

find("cancel").addEventListener("click", async () => {
  find("cancel").disabled = true;
  await request(`/api/jobs/${id}/cancel`, { method: "POST" }).catch(complain);
  find("cancel").disabled = false;
});
