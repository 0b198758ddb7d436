// Relative times that stay true while the page stands open.
const STEPS = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86400, 3600, "hour"],
  [86400 * 30, 86400, "day"],
  [86400 * 365, 86400 * 30, "month"],
  [Infinity, 86400 * 365, "year"],
];
const words = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });

export function ago(moment, now = Date.now()) {
  const seconds = (moment.getTime() - now) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  const [, size, unit] = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return words.format(Math.round(seconds / size), unit);
}

function refresh() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

export function startTimes() {
  refresh();
  setInterval(refresh, 10000);
  document.addEventListener("renewed", refresh);
  document.addEventListener("htmx:afterSwap", refresh);
}
