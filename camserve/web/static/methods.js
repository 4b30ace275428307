// The menu of methods: the time of each on this photograph, which methods cannot be chosen, and why.

const WORTH_SAYING = 2; // seconds

const optionOf = (menu, name) => [...menu.options].find((one) => one.value === name);

// The title of a method, without the text behind it.
export function titleOf(menu, name) {
  const option = optionOf(menu, name);
  return option ? (option.dataset.title ?? option.text) : name;
}

// The estimated seconds of a method; 0: not known.
export const secondsOf = (menu, name) => Number(optionOf(menu, name)?.dataset.seconds) || 0;

// Whether a method takes too long for one request, and so runs as a job.
export const needsJob = (menu, name) => Boolean(optionOf(menu, name)?.dataset.job);

// forecast: the answer of /api/v1/explain/forecast; null: the times are not known.
export function showForecast(menu, why, forecast) {
  const known = new Map((forecast?.methods ?? []).map((one) => [one.name, one]));
  const closed = [];
  const deadline = forecast?.deadline_seconds ?? Infinity;
  const allowed = Math.max(deadline, forecast?.job_seconds ?? 0);
  for (const option of menu.options) {
    const { seconds = 0, reason = "" } = known.get(option.value) ?? {};
    const tooLong = seconds > allowed;
    option.dataset.title ??= option.text;
    option.dataset.seconds = seconds;
    option.dataset.job = seconds > deadline && !tooLong ? "yes" : "";
    option.dataset.reason = reason;
    option.disabled = Boolean(reason) || tooLong;
    const behind = reason ? "not for this model" : seconds >= WORTH_SAYING ? `about ${inWords(seconds)}` : "";
    option.text = behind ? `${option.dataset.title} · ${behind}` : option.dataset.title;
    if (tooLong) option.dataset.reason = `takes about ${inWords(seconds)} on this photograph; the limit is ${allowed} s`;
    if (option.disabled) closed.push([option.dataset.title, option.dataset.reason]);
  }
  menu.dataset.known = forecast ? "yes" : "";
  why.querySelector("summary").textContent =
    closed.length === 1 ? "Why one method cannot be chosen" : `Why ${closed.length} methods cannot be chosen`;
  why.querySelector("ul").replaceChildren(...closed.map(reasonItem));
  why.hidden = !closed.length;
}

// The time that a method takes, in words.
export const costIn = (seconds) => (seconds < 0.1 ? "under 0.1 s" : seconds < 10 ? `${seconds.toFixed(1)} s` : inWords(seconds));

export const inWords = (seconds) => (seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

function reasonItem([title, reason]) {
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = title;
  item.append(name, `: ${reason}`);
  return item;
}
