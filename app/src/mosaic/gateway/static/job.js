// One job as it goes on: its picture or result, its hosts, its attempts.

import { find, h, reconcile, seconds, sentence, swatch, time } from "./dom.js";
import { follow, getJson, postJson, request } from "./net.js";
import { Picture } from "./picture.js";
import { picker } from "./picker.js";
import { complain, say } from "./shell.js";
import { inside } from "./view.js";

const { job: id, kind } = find("job").dataset;
const params = JSON.parse(find("job").dataset.params);
const picture = kind === "render" ? new Picture(find("canvas"), id, params) : null;
let job = null;
let picked = null;

function legend() {
  reconcile(find("legend"), Object.entries(job.by_host), ([host]) => host, ([host, parts]) =>
    h("li", { "data-host": host, "data-count": parts }, swatch(host), h("span", {}, host), h("b", {}, String(parts))));
}

function describe() {
  const rate = job.seconds > 0 ? (job.done / job.seconds).toFixed(1) : "0";
  find("progress").max = job.total;
  find("progress").value = job.done;
  find("state").textContent = job.state;
  find("state").className = `badge ${job.state}`;
  find("counts").textContent = `${job.done} of ${job.total} parts in ${seconds(job.seconds)}, ${rate} a second`;
  find("problem").textContent = job.error ? sentence(job.error) : "";
  find("problem").hidden = !job.error;
  find("cancel").hidden = job.state !== "running";
  find("download").hidden = kind === "digest" || job.state !== "done";
}

function download() {
  const tinted = picture?.tinted ? "?tint=host" : "";
  find("download").href = `/api/jobs/${id}/image${tinted}`;
}

async function showSheet() {
  const image = find("sheet");
  image.src = `/api/jobs/${id}/image`;
  image.hidden = false;
}

async function showWords() {
  const result = await getJson(`/api/jobs/${id}/result`);
  const most = result.top[0]?.[1] ?? 1;
  find("words").replaceChildren(...result.top.slice(0, 20).map(([word, uses]) =>
    h("li", {}, h("span", {}, word), h("meter", { max: most, value: uses, "aria-label": `${word}: ${uses}` }), h("b", {}, String(uses)))));
  find("sum").textContent = `${result.words.toLocaleString()} words, ${result.distinct.toLocaleString()} of them different`;
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
    h("td", { class: "number" }, String(one.part)),
    h("td", { class: "number" }, String(one.number)),
    h("td", {}, h("span", { class: "hostcount" }, swatch(one.host), one.host)),
    h("td", { class: "number mono" }, String(one.pid)),
    h("td", {}, time(one.started)),
    h("td", { class: "number" }, seconds(one.seconds)),
    h("td", {}, h("span", { class: `badge ${state}` }, outcome)),
    h("td", { class: "wrap soft" }, [one.redelivered ? "delivered again" : "", one.error ?? ""].filter(Boolean).join("; ")));
}

function takeParts(parts) {
  picture?.take(parts.filter((part) => part.state === "done"));
  refreshAttempts();
}

function takeJob(summary) {
  job = summary;
  describe();
  legend();
  if (job.state === "running") return;
  stream.close();
  refreshAttempts();
  // A picture that grows has no place for what comes at the end.
  if (find("waiting")) find("waiting").hidden = true;
  if (job.state !== "done") return;
  if (kind === "scale") showSheet();
  if (kind === "digest") showWords().catch(complain);
}

const stream = follow(`/api/jobs/${id}/events${picture ? "?tiles=true" : ""}`, {
  tiles: (tiles) => picture.receive(tiles),
  parts: takeParts,
  job: takeJob,
  gone: () => { stream.close(); say("this job is not there any more."); },
});

find("cancel").addEventListener("click", async () => {
  find("cancel").disabled = true;
  await request(`/api/jobs/${id}/cancel`, { method: "POST" }).catch(complain);
  find("cancel").disabled = false;
});

if (picture) {
  const tint = find("tint");
  picture.tint = tint.checked;
  download();
  tint.addEventListener("change", () => { picture.tint = tint.checked; download(); });
  document.addEventListener("theme", () => picture.paint());
  picker(find("canvas").parentElement, find("canvas"), (box, bykey) => {
    const view = { x: params.center_x, y: params.center_y, width: params.width_units };
    picked = inside(bykey && picked ? picked : view, box, params.width / params.height);
    find("closer").hidden = false;
    find("closer-text").textContent = `${(params.width_units / picked.width).toPrecision(3)}× closer`;
  });
  find("again").addEventListener("click", async () => {
    const body = { center_x: picked.x, center_y: picked.y, width_units: picked.width };
    for (const key of ["width", "height", "tile", "iterations"]) body[key] = params[key];
    try {
      location.assign(`/jobs/${(await postJson("/api/jobs/render", body)).job}`);
    } catch (error) {
      complain(error);
    }
  });
} else {
  download();
}
