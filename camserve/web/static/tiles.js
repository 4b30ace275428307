// The maps of several methods side by side, drawn with the page's options on one scale.

import { costIn } from "./methods.js";
import { colourBar } from "./picture/drawing.js";
import { draw, drawnSize, endsOf, lookOf, onRedraw } from "./picture/picture.js";
import { averaged } from "./picture/placement.js";
import { short } from "./words.js";

const $ = (id) => document.getElementById(id);
const PIXELS = 2 ** 18; // pixels of a tile
const CELLS = 64; // most cells of the longer side of a map: smaller cells would not be visible
// By a method's name: {item, canvas, note, heat, seconds}.
const tiles = new Map();
let waiting = [];

onRedraw(redrawTiles);

// methods: {name, title, open()}. about: the name of what they explain.
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

// heat: as in picture.js. seconds: how long the method took. note: if there is no heat, the reason.
export function setTile(name, { heat = null, seconds = 0, note = "" }) {
  const tile = tiles.get(name);
  if (!tile) return; // the tiles now show another photograph
  Object.assign(tile, { heat: heat && { ...heat, ...averaged(heat, CELLS) }, seconds });
  tile.note.textContent = note;
  tile.item.classList.toggle("empty", !heat);
  tile.button.disabled = !heat;
  redrawTiles();
}

const found = () => [...tiles.values()].filter((tile) => tile.heat);

// If all maps have the same unit, they share one scale. Otherwise each map is scaled to its own peak.
const inLogits = () => found().every((tile) => tile.heat.unit === "logits");

const commonEnd = () => Math.max(0, ...found().map((tile) => lookOf(tile.heat).end));

function redrawTiles() {
  if (!tiles.size) return;
  if (!waiting.length) requestAnimationFrame(drawNext);
  waiting = found();
  setScale();
}

// Draws one tile per frame, so that the page stays responsive.
function drawNext() {
  const tile = waiting.shift();
  if (!tile) return;
  const [width, height] = [$("photo").naturalWidth, $("photo").naturalHeight];
  const own = lookOf(tile.heat).end;
  draw(tile.canvas, drawnSize(width, height, PIXELS), tile.heat, inLogits() ? commonEnd() : own);
  const peak = tile.heat.unit === "logits" ? `peak ${short(own)} logits` : "its own unit";
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
    ? "One scale for all: equal colours mean equal logits."
    : "The units differ, so each map is scaled to its own peak. Compare places, not strengths.";
}
