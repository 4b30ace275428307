// What is shown while an answer is on its way, and where there is none.

import { inWords, secondsOf, titleOf } from "./methods.js";

const $ = (id) => document.getElementById(id);
// Milliseconds that the last picture stays, dimmed, while another is made: less than that would only flicker.
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
  $("doing").textContent = name === "auto" ? "Explaining …" : `Explaining by ${title} …`;
  $("elapsed").textContent = "";
  timers.title = title;
  timers.ticking = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    $("elapsed").textContent = takes >= 2 ? `${seconds} s of about ${inWords(takes)}` : `${seconds} s`;
  }, 1000);
  timers.clearing = setTimeout(() => setCleared(true), STAYS);
}

// How far a job is; null: others are before it.
export function setProgress(job) {
  if (!isBusy()) return;
  $("doing").textContent = job ? `Explaining by ${timers.title} …` : "Waiting for others who asked before …";
  $("progress").hidden = !job?.forwards_in_all;
  if (!job?.forwards_in_all) return;
  $("progress").max = job.forwards_in_all;
  $("progress").value = job.forwards;
}

export const isCleared = () => document.body.classList.contains("cleared");

// Cleared: the photograph alone, without what was found about it by another method or for another class. failed: and
// nothing is on its way.
export function setCleared(cleared, failed = false) {
  document.body.classList.toggle("cleared", cleared);
  document.body.classList.toggle("failed", failed);
  $("download").disabled = cleared;
}

// title, text: what went wrong. again: whether trying again may help.
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
