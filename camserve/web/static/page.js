// START HERE. The page's behaviour: one photograph, what the service says of it, and the picture that is drawn of that.
// service.js asks, picture.js draws, and each of the others has one part of the page.

import { showAnswers } from "./answers.js";
import { searchClasses } from "./classes.js";
import { ClassMaps } from "./classmaps.js";
import { inWords as lasting, secondsOf, showForecast, titleOf } from "./methods.js";
import { redraw, setHeat, setPhotograph } from "./picture.js";
import { clearPlace, showPlaceAgain, watchPlaces } from "./places.js";
import { Placement } from "./placement.js";
import { plain, Service } from "./service.js";
import { download, restoreLink, showCommands } from "./takeaway.js";
import { said } from "./words.js";

const $ = (id) => document.getElementById(id);
const form = $("form");
// answer: what the service said; maps: its class maps, null where it has none. target: what is shown, {index, against};
// null: something else than a class or a difference of two. heat: of picture.js. live: other classes need no request.
// others: the map of the answer where it is none of the class maps.
// answered: the choices that the answer is to; null: there is none.
const state = { photo: null, request: null, answered: null, answer: null, names: [], scores: [] };
const service = new Service(form, (text) => ($("doing").textContent = text));

// Milliseconds that the last picture stays, dimmed, while another is made: less than that would only flicker.
const STAYS = 400;
// Classes whose names and scores come with an answer.
const CLASSES = 1000;
// Of a map's peak: maps that differ by less are one.
const EQUAL = 1e-3;

document.documentElement.classList.add("scripted");

// ---- a photograph comes in

async function take(photo) {
  if (!photo) return;
  Object.assign(state, { photo, answered: null, answer: null, heat: null });
  for (const id of ["target", "expected"]) if ($(id).dataset.index) setClass(id, "", "");
  $("difference").setAttribute("aria-pressed", "false");
  $("answers").hidden = true;
  await explain();
}

$("file").addEventListener("change", (event) => take(event.target.files[0]));
$("another").addEventListener("click", () => $("file").click());
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.toggle("dragging", event.dataTransfer.types.includes("Files"));
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});

// ---- asking the service

// The options whose fields hold a name, as an index: two classes may share a name, and digits could be one.
function asked() {
  const options = {};
  for (const id of ["target", "expected"]) if ($(id).dataset.index) options[id] = `#${$(id).dataset.index}`;
  if (isDifference()) options.target = `#${state.target.index}-#${state.target.against}`;
  return options;
}

// quietly: the picture is right already, and what is said about it is on its way.
async function explain({ quietly = false } = {}) {
  if (!state.photo) return;
  state.request?.abort();
  const mine = (state.request = new AbortController());
  const choice = (state.asked = choices());
  if (!quietly) setBusy(true);
  try {
    if (!quietly) {
      $("problem").hidden = true;
      clearPlace();
    }
    const start = performance.now();
    const options = quietly ? asked() : { outputs: "maps", top_k: CLASSES, ...asked() };
    const [response] = await Promise.all([
      service.ask(state.photo, "application/json", options, mine.signal),
      showPhoto(mine.signal),
    ]);
    const answer = await response.json();
    if (mine.signal.aborted) return;
    state.answered = choice;
    if (quietly) showWords({ ...answer, top: state.answer.top, outputs: state.answer.outputs });
    else showAnswer(answer, choice.target, performance.now() - start);
    forecast(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    mine.abort();
    showFailure(error);
  }
  if (mine === state.request) setBusy(false);
}

// What every method would take on this photograph; asked once the first picture is there, and nobody waits for it.
async function forecast(signal) {
  const key = [state.photo.name, state.photo.size, state.photo.lastModified, modelName(), $("size").value].join("/");
  if (state.forecast === key) return;
  try {
    const changes = { method: "auto", target: "", expected: "", trust: "" };
    const told = await (await service.ask(state.photo, "application/json", changes, signal, form.dataset.forecast)).json();
    if (signal.aborted) return;
    state.forecast = key;
    showForecast($("method"), $("why"), told);
  } catch {
    // the menu stays as it is, and errors say the rest
  }
}

const modelName = () => $("model")?.value ?? form.dataset.model;

// Sentences are for models that compare images with them; the field is there for those alone.
const sentences = () => ($("labels")?.disabled === false ? $("labels").value.split(/[\n;]/) : [])
  .map((one) => one.trim()).filter(Boolean);

function offerSentences() {
  if (!$("labels")) return;
  const takes = $("labels").dataset.models.split(" ").includes(modelName());
  for (const one of [$("labels"), $("sentences"), form.querySelector("label[for=labels]")]) one.hidden = !takes;
  $("labels").disabled = !takes;
}

const classesOf = new Map();

// The names of a model's classes, asked for once.
function classNames() {
  if (sentences().length) return Promise.resolve(sentences());
  const model = modelName();
  if (!classesOf.has(model)) {
    const address = `${form.dataset.models}/${encodeURIComponent(model)}/classes`;
    const names = fetch(address).then(async (answer) => (answer.ok ? (await answer.json()).classes : Promise.reject()));
    names.catch(() => classesOf.delete(model));
    classesOf.set(model, names);
  }
  return classesOf.get(model);
}

// ---- what was chosen

function choices() {
  const kept = {};
  for (const { id, name, type, value, checked } of form.elements) {
    if (name && type !== "file") kept[id || name] = type === "checkbox" ? checked : value;
  }
  const indices = ["target", "expected"].map((id) => [id, $(id).dataset.index ?? ""]);
  return { kept, indices, target: isDifference() ? state.target : null };
}

function restore({ kept, indices }) {
  for (const element of form.elements) {
    const was = kept[element.id || element.name];
    if (was === undefined) continue;
    if (element.type === "checkbox") element.checked = was;
    else element.value = was;
  }
  for (const [id, index] of indices) $(id).dataset.index = index;
  setHints();
}

function setClass(id, name, index) {
  $(id).value = name;
  $(id).dataset.index = index;
  if (id === "target") $("difference").setAttribute("aria-pressed", "false");
}

const isDifference = () => $("difference").getAttribute("aria-pressed") === "true";

// A class was chosen. Where its map is here it is drawn at once; what is said of it follows.
function choose(name, index) {
  setClass("target", name, index);
  turnTo({ index, against: null });
}

function turnTo(target) {
  const here = state.live && !state.cleared && canShow(target);
  if (here) show(target);
  explain({ quietly: here });
}

$("difference").addEventListener("click", () => {
  const [best, { expected }] = [state.answer.top[0], state.answer];
  if (isDifference()) return choose(best.class_name, best.class_index);
  const target = { index: best.class_index, against: expected.class_index };
  setClass("target", "", "");
  $("difference").setAttribute("aria-pressed", "true");
  if (!state.live) state.target = target;
  return turnTo(target);
});

// Ends what is under way. The picture that was there is shown again, with what it was asked for.
function cancel() {
  if ($("busy").hidden) return;
  state.request.abort();
  setBusy(false);
  if (state.answered) {
    restore(state.answered);
    setCleared(false);
  } else {
    showFailure({ message: "Nothing was computed to its end.", status: 499 }, "Stopped.");
  }
}

// ---- showing what it said

// Browsers show no TIFF: then the service's own reading of it, an overlay without opacity, is the photograph.
async function showPhoto(signal) {
  if (state.drawn === state.photo) return;
  const photo = state.photo;
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

// asked: the difference that was asked for; null: something else.
function showAnswer(answer, asked, milliseconds) {
  const { image, model, frame, method, layer } = answer.provenance;
  const size = [image.width, image.height];
  const { maps } = answer.outputs;
  Object.assign(state, { answer, size, reason: maps.reason ?? "" });
  state.maps = maps.b64 ? new ClassMaps(maps, frame, size) : null;
  state.placement = new Placement(answer.provenance.placement, frame, size);
  state.names = [];
  state.scores = [];
  for (const one of answer.top) {
    state.names[one.class_index] = one.class_name;
    state.scores[one.class_index] = said(one);
  }
  const isClass = answer.target.name === answer.class_name;
  state.target = isClass ? { index: answer.class_index, against: null } : asked;
  const found = { map: Float32Array.from(answer.map.flat()), placement: state.placement };
  state.others = null;
  state.live = Boolean(state.target && canShow(state.target)) && isEqual(found, heatOf(state.target));
  if (!state.live) state.others = found;
  state.title = titleOf($("method"), method);
  setCleared(false);
  showHeat(heatOf(state.target), state.target ? nameOf(state.target) : answer.target.name);
  $("facts").textContent =
    `${state.title} at layer “${layer}” of ${model.name} · ${image.width} × ${image.height} · ${Math.round(milliseconds)} ms`;
  showWords(answer);
}

// What an answer says beside its map.
function showWords(answer) {
  state.answer = answer;
  showAnswers(answer, state.target?.against === null ? answer.class_index : null, { choose, preview });
  $("trust").textContent = answer.trust ? answer.trust.sentence : "";
  $("trust").hidden = !answer.trust;
}

// Whether two maps of the same cells are one.
function isEqual(one, other) {
  const peak = one.map.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return one.map.length === other.map.length && String(one.placement.grid) === String(other.placement.grid)
    && one.map.every((value, cell) => Math.abs(value - other.map[cell]) <= EQUAL * peak);
}

const canShow = ({ index, against }) => Boolean(state.maps?.has(index)) && (against === null || state.maps.has(against));

const isContrast = () => state.answer.target.quantity === "contrast";

// What picture.js draws of a target, and `sum`: what its places add, null where that is not known.
function heatOf(target) {
  const adds = target && state.answer.target.quantity !== "log-softmax" && canShow(target);
  const sum = adds ? state.maps.map(target, isContrast()) : null;
  const signed = Boolean(target) && target.against !== null;
  const found = state.others ?? { map: sum, placement: state.maps?.placement };
  return { ...found, unit: state.answer.unit, signed, sum };
}

const nameOf = ({ index, against }) => [index, against].filter((one) => one !== null).map((one) => state.names[one]).join(" − ");

// Shows another class, or difference, of whose map the page has all.
function show(target) {
  state.target = target;
  showHeat(heatOf(target), nameOf(target));
  for (const button of $("top").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", target.against === null && button.dataset.index === String(target.index));
  }
  showPlaceAgain(pointed());
}

function showHeat(heat, name) {
  state.heat = heat;
  state.name = name;
  setHeat(heat);
  $("for").textContent = name;
  $("by").textContent = state.title;
  $("heat").setAttribute("aria-label", `Where the evidence for ${name} is, by ${state.title}`);
  if ($("take").open) tellCommands();
}

// A class is looked at in passing; null: no more.
function preview(index) {
  if (!state.live || state.cleared || (index === null && !state.previewed)) return;
  const target = index === null ? state.target : { index, against: null };
  if (!canShow(target)) return;
  state.previewed = index !== null;
  showHeat(heatOf(target), index === null ? nameOf(state.target) : nameOf(target));
}

// What places are asked of.
function pointed() {
  if (!state.heat || state.cleared || $("heat").hidden) return null;
  const { size, maps, reason, names, heat, name, answer, placement } = state;
  return { size, maps, reason, names, heat, name, field: answer.receptive_field, placement };
}

function showFailure(error, title = "That did not work.") {
  const unreachable = error instanceof TypeError;
  setCleared(true, true);
  state.answered = null;
  $("top").querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
  $("warnings").hidden = true;
  $("problem-title").textContent = title;
  $("problem-text").textContent = unreachable
    ? "The service does not answer. Is it still running?"
    : plain(error, form.dataset.deadline, titleOf($("method"), $("method").value));
  $("again").hidden = !unreachable && !(error.status >= 429);
  $("problem").hidden = false;
  $("problem").scrollIntoView({ block: "nearest" });
  if (state.drawn !== state.photo) {
    $("figure").hidden = true;
    $("drop").hidden = false;
  }
}

function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  $("busy").hidden = !busy;
  clearInterval(state.ticking);
  clearTimeout(state.clearing);
  if (!busy) return;
  const [name, start] = [$("method").value, performance.now()];
  const title = titleOf($("method"), name);
  const takes = secondsOf($("method"), name);
  $("doing").textContent = name === "auto" ? "Explaining …" : `Explaining by ${title} …`;
  $("elapsed").textContent = "";
  state.ticking = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    $("elapsed").textContent = takes >= 2 ? `${seconds} s of about ${lasting(takes)}` : `${seconds} s`;
  }, 1000);
  state.clearing = setTimeout(() => setCleared(true), STAYS);
}

// Cleared: the photograph alone, without what was found about it by another method or for another class. failed: and
// nothing is on its way.
function setCleared(cleared, failed = false) {
  state.cleared = cleared;
  document.body.classList.toggle("cleared", cleared);
  document.body.classList.toggle("failed", failed);
  $("download").disabled = cleared;
}

// ---- looking and keeping

function asksTheSame() {
  const now = choices();
  return ["target", "expected"].every((id) => state.asked?.kept[id] === now.kept[id])
    && String(state.asked?.indices) === String(now.indices);
}

function setHints() {
  $("summary").textContent = $("method").selectedOptions[0].dataset.summary;
  redraw();
}

function setView() {
  $("frame").classList.toggle("only-photo", $("only-photo").checked);
  $("frame").style.setProperty("--split", `${$("split").value}%`);
  $("frame").style.setProperty("--shown", $("only-photo").checked ? "0" : $("split").value);
}

const bestFirst = () => (state.answer?.top ?? []).map((one) => one.class_index);

function tellCommands() {
  const chosen = $("target").dataset.index || isDifference() ? state.target : null;
  if (state.heat && state.photo) showCommands(state.photo, chosen, state.heat);
}

$("download").addEventListener("click", () => {
  const score = state.target?.against === null ? ` ${state.scores[state.target.index] ?? ""}` : "";
  const lines = [`${state.name}${score}`, `${$("facts").textContent.split(" · ")[0]} · ${state.photo.name || "a pasted photograph"}`];
  download(state.photo.name || "photo", $("photo"), state.heat, [...lines, `camserve ${form.dataset.version}`]);
});
$("take").addEventListener("toggle", tellCommands);
for (const id of ["link", "curl", "python"]) $(id).addEventListener("focus", () => $(id).select());
$("cancel").addEventListener("click", cancel);
document.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && cancel());
watchPlaces(pointed);
for (const id of ["target", "expected"]) {
  $(id).addEventListener("input", () => setClass(id, $(id).value, ""));
  searchClasses({
    input: $(id),
    list: $(`${id}-classes`),
    found: $(`${id}-found`),
    names: classNames,
    order: (all) => [...new Set([...bestFirst(), ...all.keys()])].filter((index) => index < all.length),
    saying: (index) => state.scores[index] ?? "",
    preview,
    choose(name, index) {
      if (id === "target") return choose(name, index);
      setClass(id, name, index);
      return explain({ quietly: !state.cleared });
    },
    submit: explain,
  });
}
$("again").addEventListener("click", () => explain());
form.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
document.addEventListener("input", ({ target }) => {
  if (target.form?.id === "here" || target.id === "threshold") {
    setView();
    redraw();
  }
});
form.addEventListener("change", ({ target }) => {
  const { id } = target;
  if (id === "file" || target.form !== form) return;
  if (["target", "expected"].includes(id) && asksTheSame()) return; // taken from the list, or by Enter, already
  if (id === "signed") $("colormap").value = "";
  if (id === "model") showForecast($("method"), $("why"), null);
  if (id === "model") offerSentences();
  if (id === "labels") setClass("target", "", "");
  setHints();
  if (!["colormap", "signed", "grey", "contour", "boxes", "threshold"].includes(id)) explain();
});
document.addEventListener("change", () => $("take").open && tellCommands());
offerSentences();
restoreLink();
setView();
setHints();
