// A command, with a button that copies it.

import { h } from "./dom.js";
import { complain } from "./shell.js";

export function copyable(command) {
  const button = h("button", { type: "button", class: "quiet", "data-action": `copy ${command}`, "aria-label": `Copy ${command}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    } catch {
      complain(new Error("the browser does not allow copying; select the text."));
    }
  } }, "Copy");
  return h("p", { class: "copyable" }, h("code", {}, command), button);
}
