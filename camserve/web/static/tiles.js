// What methods found, one beside the other, drawn as the controls say and on one scale.

import { costIn } from "./methods.js";
import { colourBar } from "./picture/drawing.js";
import { draw, drawnSize, endsOf, lookOf, onRedraw } from "./picture/picture.js";
import { averaged } from "./picture/placement.js";
import { short } from "./words.js";

const $ = (id) => document.getElementById(id);
const PIXELS = 2 ** 18; // of a tile
const CELLS = 64; // of the longer side of a map: single cells of more could not be seen
// By a method's name: {item, canvas, note, heat, seconds}.
const tiles = new Map();
let waiting = [];

onRedraw(redrawTiles);

// methods: {name, title, open()}. about: what they explain, in words.
export function addTiles(methods, about) {
  clearTiles();
  for (const { name, title, open } of methods) {
    const item = $("tile").content.firstElementChild.cloneNode(true);
    const [canvas, button, note] = ["canvas", "button", "small"].map((kind) => item.querySelector(kind));
    button.textContent = title;
    button.addEventListener("click", open);
    canvas.setAttribute("aria-label", `Where the evidence for ${about} is, by ${title}`);
    tiles.set(name, { item, canvas, button, note, heat: null, seconds: 0 });
    $("tiles").append(item);
  }
  $("compare-for").textContent = about;
  setScale();
}

export function clearTiles() {
  tiles.clear();
  waiting = [];
  $("tiles").replaceChildren();
  setScale();
}

// heat: as of picture.js, and what it took; or note: why there is none, or not yet.
export function setTile(name, { heat = null, seconds = 0, note = "" }) {
  const tile = tiles.get(name);
  if (!tile) return; // of another photograph by now
  Object.assign(tile, { heat: heat && { ...heat, ...averaged(heat, CELLS) }, seconds });
  tile.note.textContent = note;
  tile.item.classList.toggle("empty", !heat);
  tile.button.disabled = !heat;
  redrawTiles();
}

const found = () => [...tiles.values()].filter((tile) => tile.heat);

// Numbers of one unit share a scale; of several, each map is drawn over its own peak, which is a scale of shares.
const inLogits = () => found().every((tile) => tile.heat.unit === "logits");

const commonEnd = () => Math.max(0, ...found().map((tile) => lookOf(tile.heat).end));

function redrawTiles() {
  if (!tiles.size) return;
  if (!waiting.length) requestAnimationFrame(drawNext);
  waiting = found();
  setScale();
}

// One a frame, so that the page stays quick.
function drawNext() {
  const tile = waiting.shift();
  if (!tile) return;
  const [width, height] = [$("photo").naturalWidth, $("photo").naturalHeight];
  const own = lookOf(tile.heat).end;
  draw(tile.canvas, drawnSize(width, height, PIXELS), tile.heat, inLogits() ? commonEnd() : own);
  const peak = tile.heat.unit === "logits" ? `peak ${short(own)} logits` : "a unit of its own";
  const block = tile.heat.block > 1 ? ` · mean of ${tile.heat.block} × ${tile.heat.block} cells` : "";
  tile.note.textContent = `${peak} · ${costIn(tile.seconds)}${block}`;
  if (waiting.length) requestAnimationFrame(drawNext);
}

function setScale() {
  const shown = found();
  $("compare-scale").hidden = !shown.length;
  if (!shown.length) return;
  const { heat } = shown[0];
  const { palette, signed } = lookOf(heat);
  colourBar($("compare-bar"), palette);
  $("compare-bar").classList.toggle("signed", signed);
  const ends = inLogits() ? endsOf(heat, commonEnd()) : signed ? ["−100 %", "100 %"] : ["0", "100 %"];
  [$("compare-low").textContent, $("compare-high").textContent] = ends;
  $("compare-unit").textContent = inLogits()
    ? "One scale for all: equal colours are equal logits."
    : "One scale for all: shares of each map's own peak, as their units differ. Compare places, not strengths.";
}
