// How old the figures of a page are. A stream reports it each second in an event `age`, a page that asks for its figures
// calls `seen` itself. Between two reports the ages grow here, so a stream that stands still is seen too.

// A chart of six hours has a point every 2 minutes.
const LATE_SECONDS = { charts: 150 };
const OTHERS_LATE_SECONDS = 10;
const readAt = new Map();
let ahead = 0;

// The gateway's clock, in milliseconds: that of the browser may be wrong.
export const now = () => Date.now() + ahead;

// `ages`: seconds by the name of the figures. `at`: the gateway's clock in seconds since 1970, where it is known.
export function seen(ages, at = null) {
  if (at !== null) ahead = at * 1000 - Date.now();
  for (const [name, seconds] of Object.entries(ages)) readAt.set(name, performance.now() - seconds * 1000);
  show();
}

function part([name, at]) {
  const seconds = Math.max(1, Math.ceil((performance.now() - at) / 1000));
  const text = document.createElement("span");
  text.textContent = `${name} ${seconds} s`;
  text.dataset.name = name;
  text.dataset.seconds = seconds;
  if (seconds > (LATE_SECONDS[name] ?? OTHERS_LATE_SECONDS)) text.className = "late";
  return text;
}

function show() {
  const line = document.getElementById("ages");
  if (!line || !readAt.size) return;
  line.hidden = false;
  line.replaceChildren("Age of the figures at most:", ...[...readAt].map(part));
}

setInterval(show, 1000);
