// Waits until this page is available again, then loads it.

async function look() {
  const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } }).catch(() => null);
  if (answer && answer.status !== 503 && answer.status !== 502) location.reload();
  else setTimeout(look, 2000);
}

setTimeout(look, 2000);
