// START HERE. What the page does: it takes a photograph, asks the service to explain it, and draws the answer.
// photographs.js takes the photograph, service.js sends requests, found.js holds the answer, and picture.js draws. Each
// other file is one part of the page.

import { inputScore, showAnswers } from "./answers.js";
import { searchClasses } from "./classes.js";
import { cancelComparison, checkComparison, listMethods, watchComparison } from "./compare.js";
import { Found } from "./found.js";
import { answered } from "./jobs.js";
import { needsJob, showForecast, titleOf } from "./methods.js";
import { classNames, modelName, offerSentences } from "./names.js";
import { watchPhotographs } from "./photographs.js";
import { redraw, setHeat, setPhotograph } from "./picture/picture.js";
import { resetZoom, watchZoom } from "./picture/zoom.js";
import { clearPlace, dropDrag, keptPlace, showPlaceAgain, watchPlaces } from "./places.js";
import { plain, Service } from "./service.js";
import { archive, download, restoreLink, showCommands } from "./takeaway.js";
import { isBusy, isCleared, setBusy, setCleared, setProgress, showProblem } from "./waiting.js";
import { said } from "./words.js";

const $ = (id) => document.getElementById(id);
const form = $("form");
// found: the last answer. target: the selected target. shown: the target that the user points at; heat: its heat.
// words: the answer whose texts are shown. answered: the form's choices for the last answer; null: no answer. asked: the
// choices of the last request.
const state = { photo: null, request: null, found: null, words: null, target: null, shown: null, heat: null, answered: null };
const service = new Service(form, (text) => ($("doing").textContent = text));

// An answer contains the names and scores of this many classes.
const CLASSES = 1000;
// Options of drawing, which need no request.
const DRAWN = ["colormap", "signed", "grey", "contour", "boxes", "threshold"];

document.documentElement.classList.add("scripted");

// ---- asking the service

async function take(photo) {
  Object.assign(state, { photo, answered: null, found: null, heat: null });
  for (const id of ["target", "expected"]) if ($(id).dataset.index) setClass(id, "", "");
  $("difference").setAttribute("aria-pressed", "false");
  $("answers").hidden = true;
  resetZoom();
  await explain();
}

// Options that name a class, as an index: two classes may have the same name, and a name may be a number.
function asIndices() {
  const options = {};
  for (const id of ["target", "expected"]) if ($(id).dataset.index) options[id] = `#${$(id).dataset.index}`;
  if (isDifference()) options.target = `#${state.target.index}-#${state.target.against}`;
  return options;
}

// quietly: the picture is already correct; only the texts about it are requested.
async function explain({ quietly = false } = {}) {
  if (!state.photo) return;
  state.request?.abort();
  const mine = (state.request = new AbortController());
  const choice = (state.asked = choices());
  const options = quietly ? asIndices() : { outputs: "maps", top_k: CLASSES, ...asIndices() };
  if (!quietly) {
    checkComparison();
    setBusy(true);
    $("problem").hidden = true;
    clearPlace();
  }
  try {
    const start = performance.now();
    const asking = answerTo(options, mine.signal, quietly);
    const [response] = await Promise.all([asking, showPhoto(mine.signal)]);
    const answer = await response.json();
    if (mine.signal.aborted) return;
    state.answered = choice;
    if (quietly) showWords({ ...answer, top: state.found.answer.top });
    else showAnswer(answer, choice.difference, performance.now() - start);
    forecast(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    mine.abort();
    showFailure(error);
  }
  if (mine === state.request) setBusy(false);
}

// quietly: the service most likely has the answer in its cache.
function answerTo(options, signal, quietly) {
  const told = (job) => signal.aborted || setProgress(job);
  const asJob = !quietly && needsJob($("method"), $("method").value);
  return answered(service, form.dataset.jobs, { photo: state.photo, options, signal, told, asJob });
}

// Requests the time of every method on this photograph, after the first picture. The page does not wait for it.
async function forecast(signal) {
  const key = [state.photo.name, state.photo.size, state.photo.lastModified, modelName(), $("size").value].join("/");
  if (state.forecast === key) return;
  try {
    const changes = { method: "auto", target: "", expected: "", trust: "" };
    const told = await (await service.ask(state.photo, "application/json", changes, signal, form.dataset.forecast)).json();
    if (signal.aborted) return;
    state.forecast = key;
    showForecast($("method"), $("why"), told);
    listMethods();
  } catch {
    // the menu stays as it is; other requests report the error
  }
}

// Browsers cannot show TIFF. For such files, the page shows the service's overlay with opacity 0.
async function showPhoto(signal) {
  if (state.drawn === state.photo) return;
  const { photo } = state;
  setSource(photo);
  await $("photo").decode().catch(async () => {
    const plainly = { alpha: 0, size: "fit", trust: "", target: "", expected: "" };
    setSource(await (await service.ask(photo, "image/png", plainly, signal)).blob());
    await $("photo").decode();
  });
  if (signal.aborted) return;
  state.drawn = photo;
  setPhotograph($("photo"));
  $("overlay")?.remove();
  $("photo").hidden = $("figure").hidden = false;
  $("drop").hidden = true;
}

function setSource(blob) {
  URL.revokeObjectURL(state.url);
  $("photo").src = state.url = URL.createObjectURL(blob);
}

// ---- what was chosen

function choices() {
  const kept = {};
  for (const { id, name, type, value, checked } of form.elements) {
    if (name && type !== "file") kept[id || name] = type === "checkbox" ? checked : value;
  }
  const indices = ["target", "expected"].map((id) => [id, $(id).dataset.index ?? ""]);
  return { kept, indices, difference: isDifference() ? state.target : null };
}

function restore({ kept, indices, difference }) {
  for (const element of form.elements) {
    const was = kept[element.id || element.name];
    if (was === undefined) continue;
    if (element.type === "checkbox") element.checked = was;
    else element.value = was;
  }
  for (const [id, index] of indices) $(id).dataset.index = index;
  $("difference").setAttribute("aria-pressed", difference !== null);
  state.target = state.shown;
  setHints();
}

function asksTheSame() {
  const now = choices();
  return ["target", "expected"].every((id) => state.asked?.kept[id] === now.kept[id])
    && String(state.asked?.indices) === String(now.indices);
}

function setClass(id, name, index) {
  $(id).value = name;
  $(id).dataset.index = index;
  if (id === "target") $("difference").setAttribute("aria-pressed", "false");
}

const isDifference = () => $("difference").getAttribute("aria-pressed") === "true";

function choose(name, index) {
  setClass("target", name, index);
  turnTo({ index, against: null });
}

// Switches between the predicted class and its difference from the expected class.
function chooseDifference() {
  const { top, expected } = state.found.answer;
  if (isDifference()) {
    setClass("target", "", "");
    turnTo({ index: top[0].class_index, against: null });
    return;
  }
  setClass("target", "", "");
  $("difference").setAttribute("aria-pressed", "true");
  turnTo({ index: top[0].class_index, against: expected.class_index });
}

// If the answer contains the map of the target, it is drawn at once, and the texts follow.
function turnTo(target) {
  state.target = target;
  checkComparison();
  const here = !isCleared() && Boolean(state.found?.live) && state.found.has(target);
  if (here) {
    showHeat(target);
    for (const button of $("top").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", target.against === null && button.dataset.index === String(target.index));
    }
  }
  explain({ quietly: here });
}

// Cancels the running request. The previous picture is shown again, with its choices.
function cancel() {
  if (!isBusy()) return;
  state.request.abort();
  setBusy(false);
  if (state.answered) {
    restore(state.answered);
    setCleared(false);
  } else {
    showFailure({ message: "No result was computed.", status: 499 }, "Stopped.");
  }
}

// ---- showing what it said

function showAnswer(answer, difference, milliseconds) {
  const { image, model, method, layer } = answer.provenance;
  state.found = new Found(answer, difference);
  state.target = state.found.target;
  if (answer.top.length === CLASSES) nameAll(state.found);
  state.title = titleOf($("method"), method);
  state.by = `${state.title} at layer “${layer}” of ${model.name}`;
  setCleared(false);
  showHeat(state.target);
  checkComparison();
  $("facts").textContent = `${state.by} · ${image.width} × ${image.height} · ${Math.round(milliseconds)} ms`;
  showWords(answer);
}

// If the answer does not contain all classes, the other names are requested.
const nameAll = (found) => classNames().then((all) => (found.names = all)).catch(() => {});

// Shows the texts of an answer.
function showWords(answer) {
  state.words = answer;
  state.found.answer = { ...state.found.answer, expected: answer.expected };
  showAnswers(answer, state.target?.against === null ? answer.class_index : null, { choose, preview });
  $("trust").querySelector("span").textContent = answer.trust ? answer.trust.sentence : "";
  $("trust").hidden = !answer.trust;
}

function showHeat(target) {
  const heat = state.found.heat(target);
  const name = state.found.name(target);
  Object.assign(state, { heat, shown: target });
  setHeat(heat);
  $("for").textContent = name;
  $("by").textContent = state.title;
  $("heat").setAttribute("aria-label", `Where the evidence for ${name} is, by ${state.title}`);
  $("sum").textContent = state.found.addedUp(target);
  showPlaceAgain(pointed());
  tellCommands();
}

// Shows a class while the user points at it; null: the user no longer points at a class.
function preview(index) {
  if (!state.found?.live || isCleared()) return;
  const target = index === null ? state.target : { index, against: null };
  if (target !== state.shown && state.found.has(target)) showHeat(target);
}

// The facts that places.js shows.
function pointed() {
  return !state.heat || isCleared() ? null : { ...state.found, heat: state.heat, name: state.found.name(state.shown) };
}

// The facts that compare.js needs.
function compared() {
  if (!state.found || !state.photo) return null;
  const options = asIndices();
  if (state.target) options.target = `#${state.target.index}${state.target.against === null ? "" : `-#${state.target.against}`}`;
  const { name, size, lastModified } = state.photo;
  const key = [name, size, lastModified, modelName(), $("size").value, $("labels")?.value, options.target ?? $("target").value].join("\n");
  return { photo: state.photo, target: state.target, name: state.found.name(state.target), options, key };
}

// Shows the map of a compared method in the large picture.
function enlarge(name) {
  $("method").value = name;
  setHints();
  explain();
  $("figure").scrollIntoView({ block: "start" });
}

function showFailure(error, title = "That did not work.") {
  const unreachable = error instanceof TypeError;
  const text = unreachable
    ? "The service does not answer. Is it still running?"
    : plain(error, form.dataset.deadline, titleOf($("method"), $("method").value));
  state.answered = null;
  showProblem(title, text, unreachable || error.status >= 429);
  if (state.drawn !== state.photo) {
    $("figure").hidden = true;
    $("drop").hidden = false;
  }
}

// ---- looking and keeping

function setHints() {
  $("summary").textContent = $("method").selectedOptions[0].dataset.summary;
  redraw();
}

function setView() {
  $("frame").classList.toggle("only-photo", $("only-photo").checked);
  $("frame").style.setProperty("--split", `${$("split").value}%`);
  $("frame").style.setProperty("--shown", $("only-photo").checked ? "0" : $("split").value);
}

function tellCommands() {
  const chosen = $("target").dataset.index || isDifference() ? state.target : null;
  if ($("take").open && state.heat) showCommands(state.photo, chosen, state.heat);
}

const stem = () => (state.photo.name || "photo").replace(/\.\w+$/, "");

// The caption of the downloaded picture. It names the model's answer if the map is of another target.
function captionLines() {
  const { words } = state;
  const [best] = words.top;
  const isBest = state.target?.against === null && state.target.index === best.class_index;
  const isTold = words.class_index === state.target?.index; // the texts of a class follow its picture
  const own = isTold ? inputScore(words) : "";
  const both = own ? `${said(best)} · for the whole photograph, which the map explains: ${own}` : said(best);
  return [
    isBest ? `${best.class_name} ${both}` : `Evidence for ${state.found.name(state.target)}`,
    ...(isBest ? [] : [`The model's answer: ${best.class_name} ${said(best)}`]),
    ...(isTold && words.trust ? [`Check of the map: ${words.trust.sentence}`] : []),
    `${state.by} · ${state.photo.name || "a pasted photograph"}`, `camserve ${form.dataset.version}`,
  ];
}

$("explain-own").addEventListener("click", () => {
  $("size").value = "crop";
  $("size").dispatchEvent(new Event("change", { bubbles: true }));
});
$("download").addEventListener("click", () => {
  const lines = captionLines();
  download(`${stem()}-why.png`, $("photo"), state.heat, lines);
});
$("archive").addEventListener("click", () => {
  const asking = (options) => service.ask(state.photo, "application/zip", { ...options, ...asIndices() }, state.request.signal);
  archive(`${stem()}-why.zip`, state.heat, asking).catch((error) => error.name === "AbortError" || showFailure(error));
});
$("take").addEventListener("toggle", tellCommands);
for (const id of ["link", "curl", "python"]) $(id).addEventListener("focus", () => $(id).select());
$("difference").addEventListener("click", chooseDifference);
$("cancel").addEventListener("click", cancel);
$("again").addEventListener("click", () => explain());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented && !cancelComparison()) cancel();
});
watchPhotographs(take);
watchComparison(service, compared, enlarge);
watchZoom(dropDrag, keptPlace);
watchPlaces(pointed);
for (const id of ["target", "expected"]) {
  $(id).addEventListener("input", () => setClass(id, $(id).value, ""));
  searchClasses({
    input: $(id),
    list: $(`${id}-classes`),
    found: $(`${id}-found`),
    names: classNames,
    best: () => (state.found?.answer.top ?? []).map((one) => one.class_index),
    saying: (index) => state.found?.scores[index] ?? "",
    preview,
    choose(name, index) {
      if (id === "target") return choose(name, index);
      setClass(id, name, index);
      return explain({ quietly: Boolean(state.found) && !isCleared() });
    },
    submit: () => explain(),
  });
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
document.addEventListener("input", ({ target }) => {
  if (target.form?.id !== "here" && target.id !== "threshold") return;
  setView();
  redraw();
});
form.addEventListener("change", ({ target }) => {
  const { id } = target;
  if (id === "file" || target.form !== form) return;
  if (["target", "expected"].includes(id) && asksTheSame()) return; // the list or Enter has already sent it
  if (id === "signed") $("colormap").value = "";
  if (id === "model") showForecast($("method"), $("why"), null);
  if (["model", "size"].includes(id)) checkComparison();
  if (id === "model") offerSentences();
  if (["labels", "model"].includes(id)) setClass("target", "", "");
  setHints();
  if (!DRAWN.includes(id)) explain();
});
document.addEventListener("change", tellCommands);
offerSentences();
$("linked").hidden = !restoreLink();
setView();
setHints();
// The picture stays in view while the user scrolls. If main is taller than the window, it scrolls until its end is visible.
new ResizeObserver(([{ target }]) => (target.style.top = `${Math.min(12, innerHeight - target.offsetHeight - 12)}px`))
  .observe(document.querySelector("main"));
