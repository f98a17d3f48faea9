// The most frequent words of a text, when all shards are counted.

import { find, h } from "/static/dom.js";
import { getJson } from "/static/net.js";

async function showWords(id) {
  const result = await getJson(`/api/jobs/${id}/result`);
  const most = result.top[0]?.[1] ?? 1;
  find("words").replaceChildren(...result.top.slice(0, 20).map(([word, uses]) =>
    h("li", {}, h("span", {}, word), h("meter", { max: most, value: uses, "aria-label": `${word}: ${uses}` }), h("b", {}, String(uses)))));
  find("sum").textContent = `${result.words.toLocaleString()} words, ${result.distinct.toLocaleString()} of them different`;
}

export const begin = ({ id }) => ({ done: () => showWords(id) });
