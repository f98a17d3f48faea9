// Selecting an area of a picture: by dragging, by touch, or by keys (arrows move, + and - zoom).

const LEAST_SHARE = 0.03;

// `frame` contains the canvas and an element of class `selection`. `onpick(box, bykey)` gets fractions of the picture's
// width and height. A click without dragging selects a quarter around that point.
export function picker(frame, canvas, onpick) {
  const selection = frame.querySelector(".selection");
  let start = null;

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return {
      x: Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)),
      y: Math.min(1, Math.max(0, (event.clientY - box.top) / box.height)),
    };
  }

  // In the picture's proportions, by the larger side of the drawn rectangle.
  function boxOf(from, to) {
    const share = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y));
    return {
      left: to.x < from.x ? from.x - share : from.x,
      top: to.y < from.y ? from.y - share : from.y,
      width: share,
      height: share,
    };
  }

  function draw(box) {
    const outer = frame.getBoundingClientRect();
    const inner = canvas.getBoundingClientRect();
    selection.style.left = `${inner.left - outer.left + box.left * inner.width}px`;
    selection.style.top = `${inner.top - outer.top + box.top * inner.height}px`;
    selection.style.width = `${box.width * inner.width}px`;
    selection.style.height = `${box.height * inner.height}px`;
    selection.hidden = false;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = place(event);
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    canvas.focus();
  });
  canvas.addEventListener("pointermove", (event) => { if (start) draw(boxOf(start, place(event))); });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = boxOf(start, place(event));
    const centre = start;
    start = null;
    selection.hidden = true;
    onpick(box.width >= LEAST_SHARE ? box : { left: centre.x - 0.125, top: centre.y - 0.125, width: 0.25, height: 0.25 });
  });
  canvas.addEventListener("pointercancel", () => { start = null; selection.hidden = true; });

  const moves = {
    ArrowLeft: { left: -0.1, top: 0, width: 1, height: 1 },
    ArrowRight: { left: 0.1, top: 0, width: 1, height: 1 },
    ArrowUp: { left: 0, top: -0.1, width: 1, height: 1 },
    ArrowDown: { left: 0, top: 0.1, width: 1, height: 1 },
    "+": { left: 0.25, top: 0.25, width: 0.5, height: 0.5 },
    "=": { left: 0.25, top: 0.25, width: 0.5, height: 0.5 },
    "-": { left: -0.5, top: -0.5, width: 2, height: 2 },
  };
  canvas.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    onpick(move, true);
  });
}
