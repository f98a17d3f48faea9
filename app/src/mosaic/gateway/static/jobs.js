// All jobs: the finished pictures, and the list with the progress of each job.

import "./forms.js";
import { find, h, moment, reconcile, seconds, swatch, time } from "./dom.js";
import { follow, request } from "./net.js";
import { complain } from "./shell.js";

const PICTURES = 12;

// The text below a picture, by kind: {key} is replaced by a parameter of the job.
const captions = JSON.parse(find("gallery").dataset.captions);
const caption = (job) => captions[job.kind].replace(/\{(\w+)\}/g, (_, key) => [job.params[key]].flat().join(", "));

function picture(job) {
  const name = `${job.kind} of ${moment(job.created)}`;
  return h("li", { class: "tilecard" },
    h("a", { href: `/jobs/${job.job}`, class: "thumb", "aria-label": `Open the ${name}` },
      h("img", { src: `/api/jobs/${job.job}/thumbnail`, alt: "", loading: "lazy", width: 320, height: 224 })),
    h("p", {}, h("span", {}, caption(job)),
      h("a", { href: `/api/jobs/${job.job}/image`, download: `mosaic-${job.job.slice(0, 8)}.png`, "aria-label": `Download the ${name}` }, "PNG")));
}

async function cancel(job) {
  try {
    await request(`/api/jobs/${job.job}/cancel`, { method: "POST" });
  } catch (error) {
    complain(error);
  }
}

function row(job) {
  const hosts = Object.entries(job.by_host).map(([host, parts]) => h("span", { class: "hostcount" }, swatch(host), `${host} `, h("b", {}, String(parts))));
  const progress = h("progress", { max: 1, value: job.progress, "aria-label": `${job.done} of ${job.total} parts done` });
  return h("tr", {},
    h("td", {}, h("a", { href: `/jobs/${job.job}` }, job.kind), job.priority === "high" && h("span", { class: "soft" }, " high")),
    h("td", {}, h("span", { class: `badge ${job.state}`, title: job.error }, job.state)),
    h("td", { class: "meter" }, progress),
    h("td", { class: "number" }, `${job.done} / ${job.total}`),
    h("td", { class: "number" }, seconds(job.seconds)),
    h("td", { class: "wrap" }, h("span", { class: "hostcounts" }, ...hosts)),
    h("td", { class: "soft", title: moment(job.created) }, time(job.created)),
    h("td", { class: "number" }, job.state === "running" && h("button", { type: "button", class: "quiet danger", "data-action": "cancel", "aria-label": `Cancel this ${job.kind}`, onclick: () => cancel(job) }, "Cancel")));
}

function show(jobs) {
  const pictures = jobs.filter((job) => job.state === "done" && job.kind in captions).slice(0, PICTURES);
  reconcile(find("gallery"), pictures, (job) => job.job, picture);
  find("no-pictures").hidden = pictures.length > 0;
  reconcile(find("jobs"), jobs, (job) => job.job, row);
  find("no-jobs").hidden = jobs.length > 0;
  find("table").hidden = jobs.length === 0;
}

follow("/api/jobs/events", { jobs: show });
