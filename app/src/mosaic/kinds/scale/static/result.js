// The contact sheet, when all sizes are done.

import { find } from "/static/dom.js";

export function begin({ id }) {
  return {
    done() {
      const image = find("sheet");
      image.src = `/api/jobs/${id}/image`;
      image.hidden = false;
    },
  };
}
