// Several methods side by side, for one class on one scale: the list of methods, their estimated times, why some cannot be
// chosen, and their progress. tiles.js shows their maps.

import { heatOf } from "./found.js";
import { answered } from "./jobs.js";
import { costIn, needsJob, secondsOf, titleOf } from "./methods.js";
import { plain } from "./service.js";
import { addTiles, clearTiles, setTile } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const form = $("form");
const menu = $("method");
const QUICK = 2; // a method is fast if it takes fewer seconds
const chosen = new Set();
// current(): what is explained, {photo, target, name, options, key}; null: nothing. It is the same as before if its key is
// the same. key: the key of what the tiles show. request: the AbortController of the running comparison.
const state = { service: null, current: null, key: "", request: null };

export function watchComparison(service, current, enlarge) {
  Object.assign(state, { service, current, enlarge });
  $("side-by-side").addEventListener("click", () => setOpen($("compare").hidden));
  $("quick").addEventListener("click", () => choose(quickOnes()));
  $("none").addEventListener("click", () => choose([]));
  $("compare-start").addEventListener("click", start);
  $("compare-cancel").addEventListener("click", cancelComparison);
}

function setOpen(open) {
  $("compare").hidden = !open;
  $("side-by-side").setAttribute("aria-expanded", open);
  if (!open) return;
  listMethods();
  $("compare").scrollIntoView({ block: "start" });
}

// ---- choosing methods

// Lists the methods again, with their current times and reasons.
export function listMethods() {
  $("side-by-side").hidden = !state.current();
  if ($("compare").hidden) return;
  const groups = [...menu.querySelectorAll("optgroup")].map((group) => {
    const made = document.createElement("fieldset");
    made.appendChild(document.createElement("legend")).textContent = group.label;
    made.append(...[...group.children].map(choice));
    return made;
  });
  const focus = document.activeElement?.value;
  const inside = $("chooser").contains(document.activeElement);
  $("chooser").replaceChildren(...groups);
  if (inside) $("chooser").querySelector(`[value="${CSS.escape(focus)}"]`)?.focus();
  tellCost();
}

function choice(option) {
  const label = document.createElement("label");
  const box = label.appendChild(document.createElement("input"));
  const reason = option.disabled ? option.dataset.reason : "";
  if (reason) chosen.delete(option.value);
  Object.assign(box, { type: "checkbox", value: option.value, disabled: Boolean(reason), checked: chosen.has(option.value) });
  box.setAttribute("form", "here");
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(option.value);
    else chosen.delete(option.value);
    tellCost();
  });
  label.title = option.dataset.summary;
  label.classList.toggle("closed", Boolean(reason));
  label.appendChild(document.createElement("span")).textContent = titleOf(menu, option.value);
  const behind = label.appendChild(document.createElement("small"));
  behind.textContent = reason || (isKnown() ? costIn(secondsOf(menu, option.value)) : "…");
  return label;
}

const isKnown = () => menu.dataset.known === "yes";

const quickOnes = () => [...menu.querySelectorAll("optgroup option")]
  .filter((option) => !option.disabled && secondsOf(menu, option.value) < QUICK).map((option) => option.value);

function choose(names) {
  chosen.clear();
  for (const name of names) chosen.add(name);
  listMethods();
}

// The chosen methods, the fastest first.
const inOrder = () => [...chosen].sort((one, other) => secondsOf(menu, one) - secondsOf(menu, other));

const costOf = (names) => names.reduce((sum, name) => sum + secondsOf(menu, name), 0);

function tellCost() {
  const count = chosen.size;
  $("compare-start").disabled = !count || !isKnown() || Boolean(state.request);
  $("quick").disabled = !isKnown();
  if (state.request) return;
  const methods = `${count} ${count === 1 ? "method" : "methods"}`;
  if (!isKnown()) $("compare-said").textContent = "Estimating how long each method takes …";
  else $("compare-said").textContent = count ? `${methods}, about ${costIn(costOf(inOrder()))} together` : "Choose one or more methods";
}

// ---- running them

async function start() {
  const about = state.current();
  if (!about) return;
  const names = inOrder();
  const mine = (state.request = new AbortController());
  state.key = about.key;
  addTiles(names.map((name) => ({ name, title: titleOf(menu, name), open: () => state.enlarge(name) })), about.name);
  setRunning(true);
  for (const [place, name] of names.entries()) {
    if (mine.signal.aborted) break;
    await explainBy(name, names, place, about, mine.signal);
  }
  if (mine === state.request) end(mine.signal.aborted ? "Stopped. Finished maps are kept." : "Done.");
}

async function explainBy(name, names, place, about, signal) {
  const title = titleOf(menu, name);
  const began = performance.now();
  const told = (job) => {
    if (signal.aborted) return;
    const share = job?.forwards_in_all ? job.forwards / job.forwards_in_all : 0;
    tellProgress(names, place, share);
    setTile(name, { note: job ? `${Math.round(100 * share)} % done` : "waiting for earlier requests" });
  };
  tellProgress(names, place, 0);
  setTile(name, { note: "running …" });
  try {
    const options = { ...about.options, method: name, top_k: 1, trust: "", expected: "" };
    const asked = { photo: about.photo, options, signal, told, asJob: needsJob(menu, name) };
    const answer = await (await answered(state.service, form.dataset.jobs, asked)).json();
    if (signal.aborted) return;
    const isDifference = Boolean(about.target) && about.target.against !== null;
    setTile(name, { heat: heatOf(answer, isDifference), seconds: (performance.now() - began) / 1000 });
  } catch (error) {
    if (signal.aborted) setTile(name, { note: "stopped" });
    else setTile(name, { note: plain(error, form.dataset.deadline, title) });
  }
}

function tellProgress(names, place, share) {
  const [before, all] = [costOf(names.slice(0, place)), costOf(names)];
  $("compare-progress").value = all ? (before + share * secondsOf(menu, names[place])) / all : place / names.length;
  $("compare-said").textContent = `${titleOf(menu, names[place])}, ${place + 1} of ${names.length}`;
}

function setRunning(running) {
  $("compare-progress").hidden = $("compare-cancel").hidden = !running;
  $("compare-start").hidden = running;
}

function end(text) {
  state.request = null;
  setRunning(false);
  tellCost();
  $("compare-said").textContent = text;
}

// Stops the comparison. Returns whether one was running.
export function cancelComparison() {
  if (!state.request) return false;
  state.request.abort();
  return true;
}

// Removes the tiles if they belong to another photograph, class or model.
export function checkComparison() {
  const key = state.current()?.key ?? "";
  if (state.key && state.key !== key) {
    cancelComparison();
    clearTiles();
    state.key = "";
  }
  listMethods();
}
