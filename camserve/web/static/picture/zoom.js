// Zoom: everything in the frame is on one sheet, and the sheet is enlarged and moved. Places on the sheet do not change.

import { setClose } from "./picture.js";

const $ = (id) => document.getElementById(id);
const MOST = 16;
const STEP = 1.5; // zoom factor of a button or key
const WHEEL = 0.0025; // per pixel of the wheel
const LINE = 16; // pixels of the wheel per line
const CLICK = 4; // CSS pixels: a shorter movement is a click
const NEAR = 0.1; // share of the frame: a place nearer to the edge is moved further inside
// scale: 1 shows the whole sheet. x, y: the place of the sheet at the frame's upper left corner, 0..1. fingers: their
// positions, by pointer. held: whether the space bar is held.
const view = { scale: 1, x: 0, y: 0, fingers: new Map(), held: false, moved: false };

export const isClose = () => view.scale > 1;

// taken(): called when a drag turns out to move the sheet. middle(): the place {x, y} that stays where it is when buttons
// and keys zoom; null: the middle of the visible part.
export function watchZoom(taken, middle) {
  const frame = $("frame");
  const step = (factor) => zoom(view.scale * factor, placed(middle()));
  $("closer").addEventListener("click", () => step(STEP));
  $("farther").addEventListener("click", () => step(1 / STEP));
  $("whole").addEventListener("click", resetZoom);
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["+", "="].includes(event.key)) step(STEP);
    else if (["-", "_"].includes(event.key)) step(1 / STEP);
    else if (event.key === "0") resetZoom();
    else if (event.key === " ") view.held = true;
    else return;
    event.preventDefault();
  });
  frame.addEventListener("keyup", (event) => event.key === " " && (view.held = false));
  frame.addEventListener("blur", () => (view.held = false));
  frame.addEventListener("wheel", turned, { passive: false });
  for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
    frame.addEventListener(kind, (event) => dragged(event, taken));
  }
  apply();
}

export function resetZoom() {
  Object.assign(view, { scale: 1, x: 0, y: 0 });
  apply();
}

// Moves the sheet so that a place on it is visible.
export function reveal(place) {
  for (const axis of ["x", "y"]) {
    const margin = NEAR / view.scale;
    const most = place[axis] - margin;
    const least = place[axis] + margin - 1 / view.scale;
    view[axis] = Math.max(Math.min(view[axis], most), least);
  }
  apply();
}

// at: the point of the frame, 0..1, that stays fixed.
function zoom(scale, at) {
  const next = Math.min(Math.max(scale, 1), MOST);
  for (const axis of ["x", "y"]) view[axis] += at[axis] / view.scale - at[axis] / next;
  view.scale = next;
  apply();
}

function apply() {
  const { scale } = view;
  for (const axis of ["x", "y"]) view[axis] = Math.min(Math.max(view[axis], 0), 1 - 1 / scale);
  const sheet = $("sheet").style;
  sheet.transform = scale === 1 ? "" : `scale(${scale}) translate(${-100 * view.x}%, ${-100 * view.y}%)`;
  sheet.setProperty("--zoom", scale);
  $("frame").classList.toggle("close", scale > 1);
  $("zoomed").textContent = `${Math.round(100 * scale)} %`;
  $("closer").disabled = scale === MOST;
  $("farther").disabled = $("whole").disabled = scale === 1;
  setClose(scale > 1);
}

// The position in the frame of a place on the sheet.
function placed(place) {
  if (!place) return { x: 0.5, y: 0.5 };
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  return { x: inside((place.x - view.x) * view.scale), y: inside((place.y - view.y) * view.scale) };
}

function pointOf(event) {
  const { left, top, width, height } = $("frame").getBoundingClientRect();
  return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
}

// Moves the sheet by a share of the frame. Returns whether it moved.
function move(across, down) {
  const [x, y] = [view.x, view.y];
  view.x += across / view.scale;
  view.y += down / view.scale;
  apply();
  return x !== view.x || y !== view.y;
}

// With Ctrl, or two fingers on a touchpad, the wheel zooms. Otherwise it moves the enlarged sheet, or the page.
function turned(event) {
  const unit = event.deltaMode ? LINE : 1;
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(view.scale * Math.exp(-WHEEL * unit * event.deltaY), pointOf(event));
  } else if (isClose()) {
    const { width, height } = $("frame").getBoundingClientRect();
    if (move((unit * event.deltaX) / width, (unit * event.deltaY) / height)) event.preventDefault();
  }
}

// Two fingers zoom and move. One finger, the middle button, and a drag with the space bar move the enlarged sheet.
function dragged(event, taken) {
  const { fingers } = view;
  if (event.type === "pointerdown") {
    if (!fingers.size) view.moved = false;
    if (event.pointerType !== "touch" && event.button !== 1 && !view.held) return;
    if (event.pointerType !== "touch") event.preventDefault();
    fingers.set(event.pointerId, { ...pointOf(event), clientX: event.clientX, clientY: event.clientY });
    $("frame").setPointerCapture(event.pointerId);
    if (fingers.size > 1) view.moved = true;
    if (view.moved || event.pointerType !== "touch") seize(event, taken);
  } else if (fingers.has(event.pointerId)) {
    if (event.type === "pointermove") follow(event, taken);
    else fingers.delete(event.pointerId);
    if (view.moved && event.type !== "pointercancel") event.stopImmediatePropagation();
  }
}

function seize(event, taken) {
  taken();
  event.stopImmediatePropagation();
}

function follow(event, taken) {
  const { fingers } = view;
  const before = fingers.get(event.pointerId);
  const far = Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY) > CLICK;
  if (!view.moved && !(isClose() && far)) return;
  if (!view.moved) taken();
  view.moved = true;
  const now = { ...before, ...pointOf(event) };
  const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, finger]) => finger);
  fingers.set(event.pointerId, now);
  if (other) {
    const apart = (finger) => Math.hypot((finger.x - other.x) * $("frame").clientWidth, (finger.y - other.y) * $("frame").clientHeight);
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    zoom((view.scale * apart(now)) / Math.max(apart(before), 1), middle);
    move((before.x - now.x) / 2, (before.y - now.y) / 2);
  } else {
    move(before.x - now.x, before.y - now.y);
  }
}
