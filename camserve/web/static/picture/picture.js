// The picture: a photograph, and the heat over it as the controls say, drawn here and at once.

import { colourBar, drawHeat, groundOf, lookAt, paletteFrom, scaleEnds } from "./drawing.js";

const $ = (id) => document.getElementById(id);
// Pixels that are drawn: of larger photographs a smaller copy, so that every change is drawn within a frame.
const MOST = 2 ** 20;
// Pixels of a side up to which a photograph is drawn pixel by pixel; routes/page.py has the same.
const SMALL = 128;

// Of that, for a picture that is looked at closely.
const CLOSE = 4;

// heat: of `setHeat`. grounds: the photograph, as it is painted on, by greyness and size. close: whether it is looked at
// closely. after: called when it was drawn.
const shown = { photo: null, heat: null, grounds: {}, asked: false, close: false, after: [] };

// ---- the photograph

// image: an img, decoded. Large photographs are drawn smaller.
export function setPhotograph(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  Object.assign(shown, { photo: image, heat: null, grounds: {} });
  $("frame").style.setProperty("--ratio", width / height);
  $("frame").style.setProperty("--pixels", width);
  $("frame").classList.toggle("small", Math.max(width, height) <= SMALL);
  $("heat").hidden = true;
  ground($("grey").checked, drawnSize(width, height)); // while the service is at work
}

export function drawnSize(width, height, most = MOST) {
  const share = Math.min(1, Math.sqrt(most / (width * height)));
  return [width, height].map((side) => Math.max(1, Math.round(side * share)));
}

function ground(grey, size) {
  const key = `${grey} ${size}`;
  shown.grounds[key] ??= groundOf(shown.photo, size, grey);
  return shown.grounds[key];
}

// Whether it is looked at closely, and so drawn with more pixels where the photograph has more.
export function setClose(close) {
  if (shown.close === close) return;
  shown.close = close;
  redraw();
}

// ---- the heat

// told(): called whenever the controls may have changed how heat looks.
export const onRedraw = (told) => shown.after.push(told);

// heat: of drawing.js. null: there is none.
export function setHeat(heat) {
  shown.heat = heat;
  $("heat").hidden = !heat;
  for (const input of [$("signed"), $("clip")]) input.disabled = heat?.unit === "relative";
  redraw();
}

// Draws before the next frame, once, however many controls have moved until then.
export function redraw() {
  setColours();
  for (const told of shown.after) told();
  if (!shown.heat || shown.asked) return;
  shown.asked = true;
  requestAnimationFrame(() => {
    shown.asked = false;
    if (!shown.heat) return;
    performance.mark("draw");
    const most = shown.close ? CLOSE * MOST : MOST;
    draw($("heat"), drawnSize(shown.photo.naturalWidth, shown.photo.naturalHeight, most));
    performance.measure("draw", "draw");
    setScale();
  });
}

// Draws the picture as it is shown on a canvas of another size. heat: another one of the photograph's. end: the value of
// its last colour, default as the controls say.
export function draw(canvas, size, heat = shown.heat, end = lookOf(heat).end) {
  const look = { ...lookOf(heat), end };
  drawHeat(canvas, ground(look.grey, size), heat, look);
}

// What the controls say, for one heat.
export function lookOf(heat) {
  return lookAt(heat, {
    signed: $("signed").checked,
    clip: Number($("clip").value),
    alpha: Number($("opacity").value),
    bare: $("only-map").checked,
    grey: $("grey").checked,
    contour: $("contour").checked,
    boxes: $("boxes").checked,
    smooth: $("smooth").checked,
    threshold: Number($("threshold").value),
  }, paletteOf);
}

// ---- colours and their scale

function paletteOf(signed) {
  const option = $("colormap").selectedOptions[0];
  return paletteFrom((signed && option.dataset.signed) || option.dataset.colours);
}

function setColours() {
  const signed = shown.heat ? lookOf(shown.heat).signed : $("signed").checked;
  colourBar($("scale"), paletteOf(signed));
  $("scale").classList.toggle("signed", signed);
  $("threshold").disabled = !($("contour").checked || $("boxes").checked);
  $("threshold-said").textContent = `${Math.round(100 * $("threshold").value)} % of the peak`;
  $("clip-said").textContent = $("clip").value === "100" ? "the peak" : `above ${$("clip").value} % of the places`;
}

// What the ends of the colours stand for.
function setScale() {
  [$("low").textContent, $("high").textContent] = endsOf(shown.heat);
}

export const endsOf = (heat, last = lookOf(heat).end) => scaleEnds(heat, lookOf(heat), last);
