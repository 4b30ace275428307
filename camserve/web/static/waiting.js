// What the page shows while it waits for an answer, and after an error.

import { inWords, secondsOf, titleOf } from "./methods.js";

const $ = (id) => document.getElementById(id);
// The last picture stays, dimmed, for this many milliseconds while the next is made, so that a fast answer does not flicker.
const STAYS = 400;

const timers = {};

export const isBusy = () => !$("busy").hidden;

export function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  $("busy").hidden = !busy;
  clearInterval(timers.ticking);
  clearTimeout(timers.clearing);
  $("progress").hidden = true;
  if (!busy) return;
  const [name, start] = [$("method").value, performance.now()];
  const title = titleOf($("method"), name);
  const takes = secondsOf($("method"), name);
  $("doing").textContent = name === "auto" ? "Explaining …" : `Explaining with ${title} …`;
  $("elapsed").textContent = "";
  timers.title = title;
  timers.ticking = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    $("elapsed").textContent = takes >= 2 ? `${seconds} s of about ${inWords(takes)}` : `${seconds} s`;
  }, 1000);
  timers.clearing = setTimeout(() => setCleared(true), STAYS);
}

// Shows the progress of a job; null: the job waits for other jobs.
export function setProgress(job) {
  if (!isBusy()) return;
  $("doing").textContent = job ? `Explaining with ${timers.title} …` : "Waiting for earlier requests …";
  $("progress").hidden = !job?.forwards_in_all;
  if (!job?.forwards_in_all) return;
  $("progress").max = job.forwards_in_all;
  $("progress").value = job.forwards;
}

export const isCleared = () => document.body.classList.contains("cleared");

// Cleared: only the photograph is shown, without the map of another method or class. failed: no request is running
// either.
export function setCleared(cleared, failed = false) {
  document.body.classList.toggle("cleared", cleared);
  document.body.classList.toggle("failed", failed);
  $("download").disabled = cleared;
}

// title, text: the error. again: whether another try may help.
export function showProblem(title, text, again) {
  setCleared(true, true);
  $("top").querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
  $("warnings").hidden = true;
  $("problem-title").textContent = title;
  $("problem-text").textContent = text;
  $("again").hidden = !again;
  $("problem").hidden = false;
  $("problem").scrollIntoView({ block: "nearest" });
}
