// Shows facts about a place (point, tap or arrow keys) and about a region (drag, or Shift and the arrow keys).

import { reveal } from "./picture/zoom.js";
import { short } from "./words.js";

const $ = (id) => document.getElementById(id);
const CLICK = 4; // CSS pixels: a shorter movement is a click
const COUNT = 5; // classes that are listed
const WIDE = 0.97; // share of the photograph: from this share on, a cell counts as seeing the whole photograph

const pointing = { from: null, at: null, kept: null };

export function clearPlace() {
  pointing.kept = null;
  $("mark").hidden = $("seen").hidden = true;
  $("place").textContent = $("place").dataset[matchMedia("(pointer: coarse)").matches ? "touch" : "hint"];
}

// The current drag does not select a region.
export function dropDrag() {
  pointing.from = null;
}

// The last selected place, {x, y} as fractions of the photograph; null: none.
export const keptPlace = () => pointing.kept && (pointing.kept.to ?? pointing.kept.from);

// current: () -> {size: [width, height], maps, reason, names, heat, name, field, placement} of the picture; null: no picture.
export function watchPlaces(current) {
  const frame = $("frame");
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !current()) return;
    Object.assign(pointing, { from: fractions(event), at: event });
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!current()) return;
    if (pointing.from && isDrag(event)) show({ from: pointing.from, to: fractions(event) }, current());
    else if (!pointing.from && event.pointerType === "mouse") show({ from: fractions(event) }, current());
  });
  frame.addEventListener("pointerup", (event) => {
    if (!pointing.from) return;
    const asked = isDrag(event) ? { from: pointing.from, to: fractions(event) } : { from: pointing.from };
    pointing.from = null;
    if (current()) keep(asked, current());
  });
  frame.addEventListener("pointercancel", () => {
    pointing.from = null;
    back(current());
  });
  frame.addEventListener("pointerleave", () => pointing.from || back(current()));
  frame.addEventListener("keydown", (event) => {
    if (current() && event.key.startsWith("Arrow")) step(event, current());
    else if (event.key === "Escape" && pointing.kept) clearPlace();
    else return;
    event.preventDefault();
  });
  clearPlace();
}

// Shows the kept place or region again, for another class.
export function showPlaceAgain(now) {
  if (pointing.kept && now) show(pointing.kept, now);
}

function keep(asked, now) {
  pointing.kept = asked;
  show(asked, now);
}

function back(now) {
  if (pointing.kept && now) show(pointing.kept, now);
  else clearPlace();
}

// An arrow key moves to the next cell. With Shift it draws a region whose other corner stays.
function step(event, now) {
  const [axis, way] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] }[event.key];
  const { from, to = from } = pointing.kept ?? { from: middle(now) };
  const moved = { ...to };
  const [name, length] = [axis ? "y" : "x", now.size[axis]];
  const { placement } = now;
  const cell = Math.round(placement.cell(axis, to[name] * length - 0.5)) + way;
  const low = placement.box[axis] / length;
  const high = placement.box[axis + 2] / length;
  moved[name] = Math.min(Math.max((placement.centre(axis, cell) + 0.5) / length, low), high);
  keep(event.shiftKey ? { from, to: moved } : { from: moved }, now);
  reveal(moved);
}

// The middle cell of the map, as a fraction of the photograph.
function middle({ placement, size }) {
  const [x, y] = [0, 1].map((axis) => (placement.centre(axis, placement.grid[axis] >> 1) + 0.5) / size[axis]);
  return { x, y };
}

function show({ from, to = null }, now) {
  setBox($("mark"), from, to ?? from);
  $("mark").classList.toggle("point", !to);
  $("seen").hidden = true;
  $("place").textContent = to ? ofRegion(from, to, now) : ofPlace(from, now);
}

const pixelsOf = ({ x, y }, [width, height]) => [Math.min(Math.floor(x * width), width - 1), Math.min(Math.floor(y * height), height - 1)];

function ofRegion(from, to, { maps, reason, size, heat, name, live }) {
  if (!maps) return `The contribution of a region is not known here: ${reason}`;
  if (!heat.sum) return `The contribution of a region is known for one class or for the difference of two classes, not for ${name}.`;
  const [[x, y], [right, bottom]] = [pixelsOf(from, size), pixelsOf(to, size)];
  const box = [Math.min(x, right), Math.min(y, bottom), Math.max(x, right) + 1, Math.max(y, bottom) + 1];
  const [gives, whole] = [box, [0, 0, ...size]].map((one) => maps.share(heat.sum, one));
  const percent = whole > 0 ? ` (${Math.round((100 * gives) / whole)} %)`.replace("-", "−") : "";
  const by = live ? "" : "By the exact class map, not by the map that is shown: this";
  return `${by || "This"} region contributes ${short(gives)} of ${short(whole)} logits to ${name}${percent}. Its places also see their surroundings.`;
}

function ofPlace(from, { maps, reason, size, names, field, placement }) {
  const [x, y] = pixelsOf(from, size);
  if (!placement.saw(0, x) || !placement.saw(1, y)) return `The model did not see the place ${x}, ${y}.`;
  const seen = field ? ofField(placement.seenFrom(field, x, y), size) : "";
  if (!maps) return `Which classes a place supports is not known here: ${reason}.${seen}`;
  const among = maps.count < names.length ? ` (of the ${maps.count} best classes)` : "";
  const votes = maps.votes(x, y, COUNT).map(([index, logits]) => `${names[index] ?? `class ${index}`} ${short(logits)}`);
  const average = "The logit of the photograph is the average over all places, plus a constant.";
  return `The place ${x}, ${y} has these logits${among}: ${votes.join(" · ")}. ${average}${seen}`;
}

// The pixels that a cell can depend on: dashed on the photograph, and in words.
function ofField([left, top, right, bottom], [width, height]) {
  const share = ((right - left) * (bottom - top)) / (width * height);
  if (share > WIDE) return " The model computes this place from the whole photograph.";
  setBox($("seen"), { x: left / width, y: top / height }, { x: right / width, y: bottom / height });
  return ` The model computes this place from the dashed area, ${Math.round(100 * share)} % of the photograph.`;
}

function fractions(event) {
  const { left, top, width, height } = $("sheet").getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  return { x: inside((event.clientX - left) / width), y: inside((event.clientY - top) / height) };
}

function setBox(element, from, to) {
  const percent = (number) => `${100 * number}%`;
  element.hidden = false;
  Object.assign(element.style, {
    left: percent(Math.min(from.x, to.x)), top: percent(Math.min(from.y, to.y)),
    width: percent(Math.abs(to.x - from.x)), height: percent(Math.abs(to.y - from.y)),
  });
}

function isDrag(event) {
  return Math.hypot(event.clientX - pointing.at.clientX, event.clientY - pointing.at.clientY) > CLICK;
}
