// What the user can take away: the picture with a caption, commands that give the same picture, and a link with the options.

import { colourBar } from "./picture/drawing.js";
import { draw, drawnSize, endsOf, lookOf } from "./picture/picture.js";

const $ = (id) => document.getElementById(id);
const LARGEST = 16e6; // pixels of the largest canvas that every browser supports
const NARROWEST = 480; // pixels of the narrowest readable caption
// The ids of the controls that a link restores.
const KEPT = [
  "model", "method", "size", "target", "expected", "labels", "trust", "colormap", "signed", "grey", "smooth", "contour", "boxes",
  "threshold", "clip", "opacity", "only-photo", "only-map", "split",
];

// ---- the picture

// heat: as in picture.js. lines: the lines of the caption; the first is bold.
export async function download(name, photograph, heat, lines) {
  const size = drawnSize(photograph.naturalWidth, photograph.naturalHeight, LARGEST);
  const picture = document.createElement("canvas");
  draw(picture, size);
  const factor = Math.ceil(NARROWEST / size[0]);
  const canvas = document.createElement("canvas");
  canvas.width = size[0] * factor;
  const caption = captionOf(canvas, heat, lines);
  canvas.height = size[1] * factor + caption.height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, size[1] * factor);
  context.drawImage(caption, 0, size[1] * factor);
  save(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), name);
}

// The caption below the picture: the lines, and a colour bar with the values at its ends.
function captionOf({ width }, heat, lines) {
  const text = Math.max(13, Math.round(width / 60));
  const [step, edge] = [Math.round(1.45 * text), text];
  const canvas = document.createElement("canvas");
  canvas.width = width;
  const context = canvas.getContext("2d");
  const font = (weight) => (context.font = `${weight} ${text}px system-ui, sans-serif`);
  const broken = lines.flatMap((line, place) => {
    font(place ? 400 : 650);
    return wrapped(context, line, width - 2 * edge).map((part) => [part, place ? 400 : 650]);
  });
  canvas.height = 2 * edge + step * (broken.length + 1);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, canvas.height);
  context.textBaseline = "middle";
  context.fillStyle = "#1d1b18";
  broken.forEach(([part, weight], place) => {
    font(weight);
    context.fillText(part, edge, edge + step * (place + 0.5));
  });
  font(400);
  const bar = document.createElement("canvas");
  colourBar(bar, lookOf(heat).palette);
  const [low, high] = endsOf(heat);
  const [y, from] = [edge + step * (broken.length + 0.5), edge + context.measureText(`${low} `).width];
  const length = Math.min(20 * text, width - from - edge - context.measureText(` ${high}`).width);
  context.fillText(low, edge, y);
  context.drawImage(bar, from, y - 0.35 * text, length, 0.7 * text);
  context.fillText(` ${high}`, from + length, y);
  return canvas;
}

function wrapped(context, line, width) {
  const found = [""];
  for (const word of line.split(" ")) {
    const longer = `${found.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width <= width) found[found.length - 1] = longer;
    else found.push(word);
  }
  return found.filter(Boolean);
}

// Saves everything in one file: the picture as shown, the heat of each pixel, the maps of all classes, and all facts.
export async function archive(name, heat, ask) {
  const look = optionsOf(null, heat)[1].map(([option, value]) => [option, inText(value)]);
  const answer = await ask({ outputs: "overlay,heatmap,maps", ...Object.fromEntries(look) });
  save(await answer.blob(), name);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- commands and link

// photo: the file. target: the selected {index, against}; null: the most likely class. heat: as in picture.js.
export function showCommands(photo, target, heat) {
  $("link").value = location.href.split("#")[0] + linked();
  const [how, drawn] = optionsOf(target, heat);
  const query = new URLSearchParams([...how, ...drawn].map(([name, value]) => [name, inText(value)]));
  const name = photo.name || "photo.png";
  const asked = new URL(`${$("form").dataset.explain}?${query}`, location.href).href.replace(/\?$/, "");
  const kind = photo.type || "application/octet-stream";
  $("curl").value = `curl --data-binary ${quoted(`@${name}`)} -H "Content-Type: ${kind}" ${quoted(asked)} -o why.png`;
  const model = how.find(([option]) => option === "model")?.[1] ?? $("form").dataset.model;
  const explained = how.filter(([option]) => option !== "model");
  $("python").value = [
    "import camserve",
    "",
    `model = camserve.load(${JSON.stringify(model)})`,
    `explanation = model.explain(${[JSON.stringify(name), ...explained.map(keyword)].join(", ")})`,
    `explanation.overlay(${drawn.map(keyword).join(", ")}).save("why.png")`,
  ].join("\n");
}

const inText = (value) => (typeof value === "boolean" ? (value ? "on" : "off") : value);

const quoted = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;

const keyword = ([name, value]) => `${name}=${value === true ? "True" : value === false ? "False" : JSON.stringify(value)}`;

// The options that differ from the defaults, with the names of docs/http.md: options of explaining, and of drawing.
function optionsOf(target, heat) {
  const chosen = (id) => (changed($(id)) ? [[id, $(id).value]] : []);
  const how = [...chosen("model"), ...chosen("method"), ...chosen("size"), ...chosen("labels"), ...chosen("expected")];
  if (target) how.push(["target", `#${target.index}${target.against === null ? "" : `-#${target.against}`}`]);
  else how.push(...chosen("target"));
  const look = lookOf(heat);
  const drawn = [...chosen("colormap")];
  if (changed($("opacity"))) drawn.push(["alpha", look.alpha]);
  for (const name of ["signed", "grey"]) if (look[name]) drawn.push([name, true]);
  if (changed($("smooth"))) drawn.push(["smooth", look.smooth]);
  for (const name of ["contour", "boxes"]) if (look[name]) drawn.push([name, look.threshold]);
  if (look.clip < 100) drawn.push(["scale", look.end]);
  return [how, drawn];
}

function changed(element) {
  if (!element) return false;
  if (element.type === "checkbox" || element.type === "radio") return element.checked !== element.defaultChecked;
  if (!element.options) return element.value !== element.defaultValue;
  const first = [...element.options].find((option) => option.defaultSelected) ?? element.options[0];
  return element.value !== first.value;
}

function linked() {
  const kept = KEPT.filter((id) => changed($(id))).map((id) => {
    const element = $(id);
    return [id, ["checkbox", "radio"].includes(element.type) ? String(element.checked) : element.value];
  });
  return kept.length ? `#${new URLSearchParams(kept)}` : "";
}

// Sets the controls to the values in the link. Returns whether the link has any.
export function restoreLink() {
  let found = false;
  for (const [id, value] of new URLSearchParams(location.hash.slice(1))) {
    const element = KEPT.includes(id) ? $(id) : null;
    if (!element) continue;
    found = true;
    if (["checkbox", "radio"].includes(element.type)) element.checked = value === "true";
    else if (!element.options || [...element.options].some((option) => option.value === value)) element.value = value;
  }
  return found;
}
