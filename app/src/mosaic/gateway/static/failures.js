// Failed tasks of all applications: the exception, and its traceback.

import { seen } from "./ages.js";
import { find, h, moment, reconcile, sentence, swatch, time } from "./dom.js";
import { offer, onChoice, wanted } from "./applications.js";
import { getJson } from "./net.js";

const REFRESH_MS = 5000;
let list = { failures: [], since: {} };

function card(failure) {
  return h("li", { class: "card letter", "data-application": failure.application },
    h("header", { class: "bar" }, h("h2", {}, failure.task), h("span", { class: "badge" }, failure.application),
      h("span", { class: "soft" }, moment(failure.at))),
    h("p", { class: "hostcount soft" }, swatch(failure.host), `${failure.host}, ${failure.worker}, task ${failure.id}`),
    h("p", { class: "mono error wrapped" }, failure.error || "no error was reported"),
    failure.traceback && h("details", {}, h("summary", {}, "Traceback"), h("pre", { tabindex: "0" }, failure.traceback)));
}

function show() {
  const shown = list.failures.filter(wanted);
  reconcile(find("failures"), shown, (failure) => `${failure.application}/${failure.id}/${failure.at}`, card);
  find("none").hidden = shown.length > 0;
  const others = Object.entries(list.since).filter(([application]) => wanted({ application }));
  const own = wanted({ application: "mosaic" }) ? ["Of mosaic: attempts that failed in the last 24 hours."] : [];
  find("since").textContent = [...own, ...others.map(([name, at]) => `Of ${name}: tasks that failed since ${time(at)}, when the console started to read its events.`)].join(" ");
}

async function refresh() {
  try {
    list = await getJson("/api/failures");
    find("problem").textContent = list.reason;
    find("problem").hidden = !list.reason;
    seen({ failures: 0 });
    offer(list.applications);
    show();
  } catch (error) {
    find("problem").textContent = sentence(error.message);
    find("problem").hidden = false;
  }
}

onChoice(show);
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
