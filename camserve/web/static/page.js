// The page's behaviour: one photograph, one overlay over it at full opacity, whose CSS opacity the slider sets.
// Painting is linear in opacity, so the heat shown is what the service paints with that `alpha`, to within 2 of
// 255. Lines and the veil over what the model did not see fade with it here, and stay in the download.

const $ = (id) => document.getElementById(id);
const form = $("form");
const state = { photo: null, request: null, photoUrl: "", overlayUrl: "" };

// A loading model and a full queue pass by themselves; this many tries, then the reader decides.
const PATIENCE = 20;

document.documentElement.classList.add("scripted");

// ---- a photograph comes in

async function take(photo) {
  if (!photo) return;
  state.photo = photo;
  setTarget("", "");
  $("answers").hidden = true;
  $("overlay").hidden = true;
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

function request(accept, changes, signal) {
  const body = new FormData(form);
  body.set("image", state.photo, state.photo.name || "pasted");
  if ($("target").dataset.index) body.set("target", `#${$("target").dataset.index}`);
  for (const [name, value] of Object.entries(changes)) body.set(name, value);
  return { method: "POST", body, headers: { Accept: accept }, signal };
}

async function ask(accept, changes, signal = state.request.signal) {
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(form.dataset.explain, request(accept, changes, signal));
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
    const seconds = Number(response.headers.get("Retry-After"));
    if (!seconds || tries === PATIENCE) throw Object.assign(new Error(problem.detail), problem);
    $("busy").textContent = problem.code === "busy" ? "Waiting for other requests …" : "Waiting for the model …";
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

async function explain() {
  if (!state.photo) return;
  state.request?.abort();
  const mine = (state.request = new AbortController());
  setBusy(true);
  try {
    $("problem").hidden = true;
    clearPlace();
    await showPhoto();
    if (mine.signal.aborted) return;
    const start = performance.now();
    const answer = await (await ask("application/json", { outputs: "overlay", format: "jpeg", alpha: 1 })).json();
    if (mine.signal.aborted) return;
    await showOverlay(answer.outputs.overlay);
    showAnswer(answer, performance.now() - start);
  } catch (error) {
    if (mine.signal.aborted) return;
    showFailure(error);
  }
  if (mine === state.request) setBusy(false);
}

// ---- showing what it said

// Browsers show no TIFF: then the service's own reading of it, an overlay without opacity, is the photograph.
async function showPhoto() {
  if (state.shown === state.photo) return;
  const photo = state.photo;
  setSource("photo", photo);
  await $("photo").decode().catch(async () => {
    setSource("photo", await (await ask("image/jpeg", { alpha: 0, contour: "", boxes: "", size: "fit" })).blob());
    await $("photo").decode();
  });
  state.shown = photo;
  $("frame").style.setProperty("--ratio", $("photo").naturalWidth / $("photo").naturalHeight);
  $("photo").hidden = $("figure").hidden = false;
  $("drop").hidden = true;
}

async function showOverlay(overlay) {
  const bytes = Uint8Array.from(atob(overlay.b64), (letter) => letter.charCodeAt(0));
  setSource("overlay", new Blob([bytes], { type: overlay.content_type }));
  await $("overlay").decode();
  $("overlay").hidden = false;
}

function setSource(id, blob) {
  URL.revokeObjectURL(state[`${id}Url`]);
  $(id).src = state[`${id}Url`] = URL.createObjectURL(blob);
}

function showAnswer(answer, milliseconds) {
  const { model, method, layer, image } = answer.provenance;
  const title = [...$("method").options].find((option) => option.value === method)?.text ?? method;
  const refocus = $("top").contains(document.activeElement);
  $("top").replaceChildren(...listed(answer).map((one) => answerItem(one, one.class_index === answer.class_index)));
  $("warnings").replaceChildren(...answer.warnings.map(warningItem));
  $("warnings").hidden = !answer.warnings.length;
  state.size = image;
  $("for").textContent = answer.target.name;
  setScale(answer);
  $("overlay").alt = `Where the evidence for ${answer.target.name} is`;
  $("facts").textContent =
    `${title} at layer “${layer}” of ${model.name} · ${image.width} × ${image.height} · ${Math.round(milliseconds)} ms`;
  $("answers").hidden = false;
  if (refocus) $("top").querySelector("[aria-pressed=true]").focus();
}

// What the ends of the colours stand for, as the overlay has them: the map's own maximum, of either sign where signed.
function setScale(answer) {
  const signed = $("signed").checked;
  const end = answer.map.flat().reduce((most, value) => Math.max(most, signed ? Math.abs(value) : value), 0);
  const inLogits = answer.unit === "logits";
  $("low").textContent = signed ? (inLogits ? `against ${short(-end)}` : "against") : inLogits ? "0" : "little";
  $("high").textContent = inLogits ? `${signed ? "for " : ""}${short(end)} logits` : signed ? "for" : "most";
}

const short = (number) => String(Number(number.toPrecision(3))).replace("-", "−");

// The five most likely classes, and the explained one where it is none of them.
function listed(answer) {
  const inside = answer.top.some((one) => one.class_index === answer.class_index);
  return inside ? answer.top : [...answer.top, answer];
}

function answerItem(one, explained) {
  const item = $("answer").content.cloneNode(true);
  item.querySelector("span").textContent = one.class_name;
  item.querySelector("output").textContent = said(one);
  item.querySelector("meter").value = one.score ?? 0;
  item.querySelector("meter").hidden = one.score === null;
  const button = item.querySelector("button");
  button.setAttribute("aria-pressed", explained);
  button.addEventListener("click", () => {
    setTarget(one.class_name, one.class_index);
    explain();
  });
  return item;
}

// A score in percent; where there is no score, the number that the network gives.
function said(one) {
  if (one.score === null) return one.logit === null ? "?" : short(one.logit);
  return one.score < 0.0005 ? "< 0.1 %" : `${(100 * one.score).toFixed(1)} %`;
}

// Two classes may share a name, so a chosen one is asked for by its index; the digits alone could be a name, too.
function setTarget(name, index) {
  $("target").value = name;
  $("target").dataset.index = index;
}

function warningItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function showFailure(error) {
  const unreachable = error instanceof TypeError;
  $("problem-text").textContent = unreachable ? "The service does not answer. Is it still running?" : error.message;
  $("again").hidden = !unreachable && !(error.status >= 429);
  $("problem").hidden = false;
  if (state.shown !== state.photo) {
    $("figure").hidden = true;
    $("drop").hidden = false;
  }
}

function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  $("busy").textContent = "Explaining …";
  $("busy").hidden = !busy;
}

// ---- asking about a place or a region

const pressed = { down: false, at: null, from: null };
const CLICK = 4; // CSS pixels: what moves less is a click

function fractions(event) {
  const { left, top, width, height } = $("frame").getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  return { x: inside((event.clientX - left) / width), y: inside((event.clientY - top) / height) };
}

function setMark(from, to) {
  const percent = (number) => `${100 * number}%`;
  $("mark").hidden = false;
  $("mark").classList.toggle("point", from === to);
  Object.assign($("mark").style, {
    left: percent(Math.min(from.x, to.x)), top: percent(Math.min(from.y, to.y)),
    width: percent(Math.abs(to.x - from.x)), height: percent(Math.abs(to.y - from.y)),
  });
}

function clearPlace() {
  $("mark").hidden = true;
  $("place").textContent = $("place").dataset.hint;
}

async function askPlace(from, to) {
  const { width, height } = state.size;
  const pixel = ({ x, y }) => [Math.min(Math.floor(x * width), width - 1), Math.min(Math.floor(y * height), height - 1)];
  const [x, y] = pixel(from);
  const [right, bottom] = pixel(to);
  const box = [Math.min(x, right), Math.min(y, bottom), Math.max(x, right) + 1, Math.max(y, bottom) + 1];
  const question = from === to ? { at: `${x},${y}` } : { region: box.join(",") };
  const mine = state.request;
  try {
    // places and regions are the head's, whatever the method, so the cheapest one will do
    const answer = await (await ask("application/json", { ...question, method: "auto" })).json();
    if (mine === state.request) $("place").textContent = inWords(answer);
  } catch (error) {
    if (mine === state.request && error.name !== "AbortError") $("place").textContent = error.message;
  }
}

function inWords({ places: [place] = [], regions: [region] = [], target }) {
  if (region) {
    return `This region gives ${short(region.logits)} logits for ${target.name}; all places together ${short(region.of)}.`;
  }
  const votes = place.votes.map((vote) => `${vote.class_name} ${short(vote.logits)}`);
  return `At ${place.x}, ${place.y} the photograph speaks for ${votes.join(" · ")} (logits)`;
}

$("frame").addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !state.size || $("overlay").hidden) return;
  Object.assign(pressed, { at: event, from: fractions(event), down: true });
  $("frame").setPointerCapture(event.pointerId);
});
$("frame").addEventListener("pointermove", (event) => {
  if (pressed.down && isDrag(event)) setMark(pressed.from, fractions(event));
});
$("frame").addEventListener("pointerup", (event) => {
  if (!pressed.down) return;
  pressed.down = false;
  const to = isDrag(event) ? fractions(event) : pressed.from;
  setMark(pressed.from, to);
  askPlace(pressed.from, to);
});
$("frame").addEventListener("pointercancel", () => {
  pressed.down = false;
  clearPlace();
});

function isDrag(event) {
  return Math.hypot(event.clientX - pressed.at.clientX, event.clientY - pressed.at.clientY) > CLICK;
}

// ---- looking and keeping

function setOpacity() {
  $("overlay").style.opacity = $("opacity").value;
}

function setHints() {
  $("summary").textContent = $("method").selectedOptions[0].dataset.summary;
  const { stops, signed } = $("colormap").selectedOptions[0].dataset;
  $("scale").style.setProperty("--stops", ($("signed").checked && signed) || stops);
  $("scale").classList.toggle("signed", $("signed").checked);
}

async function download() {
  try {
    const response = await ask("image/png", { alpha: $("opacity").value });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${(state.photo.name || "photo").replace(/\.\w+$/, "")}-why.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    if (error.name !== "AbortError") showFailure(error);
  }
}

$("opacity").addEventListener("input", setOpacity);
$("target").addEventListener("input", () => setTarget($("target").value, ""));
$("download").addEventListener("click", download);
$("again").addEventListener("click", explain);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
form.addEventListener("change", (event) => {
  if (["file", "opacity"].includes(event.target.id)) return;
  if (event.target.id === "signed") $("colormap").value = "";
  setHints();
  explain();
});
setOpacity();
setHints();
