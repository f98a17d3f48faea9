// The number of primes, the largest prime, and the time of each host, when all parts are done.

import { find, h, seconds, swatch } from "/static/dom.js";
import { getJson } from "/static/net.js";

const figure = (name, ...value) => h("div", { class: "figure" }, h("dt", {}, ...name), h("dd", {}, ...value));

async function showCount(id) {
  const result = await getJson(`/api/jobs/${id}/result`);
  find("figures").replaceChildren(
    figure(["Primes"], result.primes.toLocaleString()),
    figure(["Largest"], result.largest.toLocaleString()),
    ...Object.entries(result.seconds).map(([host, spent]) => figure([swatch(host), ` ${host}`], seconds(spent))),
    figure(["Computed again (maximum)"], seconds(result.again)));
  find("figures").hidden = false;
}

export const begin = ({ id }) => ({ done: () => showCount(id) });
