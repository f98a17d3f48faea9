// The filter by application, which several pages have. The address keeps the choice: /queues?application=shop.

import { find, h } from "./dom.js";

const select = find("application");
let known = "";

export const wanted = (item) => !select.value || item.application === select.value;

// Offers these applications. With one application there is nothing to choose.
export function offer(names) {
  if (names.join() === known) return;
  known = names.join();
  const chosen = select.value || new URL(location).searchParams.get("application") || "";
  select.replaceChildren(h("option", { value: "" }, "all applications"), ...names.map((name) => h("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : "";
  find("applications").hidden = names.length < 2;
}

export function onChoice(show) {
  select.addEventListener("change", () => {
    const url = new URL(location);
    if (select.value) url.searchParams.set("application", select.value);
    else url.searchParams.delete("application");
    history.replaceState(null, "", url);
    show();
  });
}
