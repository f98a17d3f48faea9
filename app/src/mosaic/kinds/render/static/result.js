// The picture of a rendering, tile by tile, tinted by host; and zooming in to an area of it.

import { find } from "/static/dom.js";
import { postJson } from "/static/net.js";
import { complain } from "/static/shell.js";
import { Picture } from "./picture.js";
import { picker } from "./picker.js";
import { inside } from "./view.js";

export function begin({ id, params }) {
  const picture = new Picture(find("canvas"), id, params);
  const tint = find("tint");
  let picked = null;

  function showTint() {
    picture.tint = tint.checked;
    find("download").href = `/api/jobs/${id}/image${tint.checked ? "?tint=host" : ""}`;
  }

  showTint();
  tint.addEventListener("change", showTint);
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
  return { tiles: (tiles) => picture.receive(tiles), parts: (parts) => picture.take(parts.filter((part) => part.state === "done")) };
}
