"use strict";
const {about, rows} = JSON.parse(document.getElementById("data").textContent);
const texts = rows.pop();  // rows refer to these by number
const FILE = 0, ERROR = 1, FLAGS = 2, BORDER = 3, AWAY = 4, EXPECTED = 5, EXPLANATIONS = 6;
const CLASS = 0, SCORE = 1, METHOD = 2, TARGET = 3, OVERLAY = 4, THUMBNAIL = 5, WARNINGS = 6, VALUE = 7, TRUST = 8, AGAINST = 9;
const HEIGHT = 304, WIDTH = 268, GAP = 14;  // pixels of a card; all cards have one size, so a card's place follows from its number
const SENTENCES = 6;  // shown at first
const FILTERS = ["search", "class", "expected", "flag", "warning", "low", "high"];
const GRAVE = ["shortcut", "confident and wrong"];  // flags that are red
const DOUBTFUL = "doubtful";  // verdict of the least trusted maps
const byId = id => document.getElementById(id);
const textOf = text => typeof text === "number" ? texts[text] : text;
const pathOf = (row, path) => typeof path === "number" ? texts[path].replace("*", () => row[FILE]) : path;
const href = path => path.split("/").map(encodeURIComponent).join("/");
const named = index => about.labels[index];
const score = value => value === null ? "?" : value.toFixed(2);
// The class with its score; a target without a score, such as a difference of classes, with its value.
const answered = one => one[SCORE] === null ? [textOf(one[TARGET]), score(one[VALUE])] : [named(one[CLASS]), score(one[SCORE])];
const tail = text => text.length > 38 ? `…${text.slice(-37)}` : text;
const images = number => number === 1 ? "1 image" : `${number.toLocaleString("en")} images`;

function element(tag, text, ...classes) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  made.classList.add(...classes);
  return made;
}

// the choices of the filters, computed once for all rows

const main = row => row[EXPLANATIONS][0];
const kindIn = warning => warning.replace(/'[^']*'/g, "…").replace(/-?\d[\d.e+-]*%?/g, "#");
const kinds = texts.map(kindIn);
const kindOf = warning => typeof warning === "number" ? kinds[warning] : kindIn(warning);
const warningsOf = row => row[EXPLANATIONS].flatMap(one => one[WARNINGS]);

function counted(values) {
  const counts = new Map();
  for (const row of rows) for (const value of new Set(values(row))) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

function fill(select, any, counts, name = value => value) {
  select.append(new Option(any, ""));
  const sorted = [...counts].map(([value, count]) => [name(value), value, count]).sort((a, b) => a[0] < b[0] ? -1 : 1);
  for (const [text, value, count] of sorted) select.append(new Option(`${text} (${count})`, value));
  select.parentElement.hidden = !sorted.length;
}

fill(byId("class"), "all", counted(row => main(row) ? [main(row)[CLASS]] : []), named);
fill(byId("expected"), "all", counted(row => row[EXPECTED] ? [row[EXPECTED][0]] : []), named);
fill(byId("flag"), "all", counted(row => row[FLAGS]));
fill(byId("warning"), "all", counted(row => warningsOf(row).map(kindOf)), kind => kind.slice(0, 60));

const failures = rows.filter(row => row[ERROR]).length;
byId("title").textContent = `${(rows.length - failures).toLocaleString("en")} explained` + (failures ? `, ${failures} failed` : "") +
  (about.right ? `: ${about.right}` : "");
byId("about").textContent = `Model ${about.model}. Click a picture, or press Enter on it, to enlarge it. The arrow keys move between the pictures.`;

// filter and sort

const isWrong = row => row[FLAGS].includes("wrong");
const alphabetical = new Map(about.labels.map((name, index) => [name, index]).sort((a, b) => a[0] < b[0] ? -1 : 1)
  .map(([, index], place) => [index, place]));
// Rows are sorted by the smallest number first; rows without a number come last.
const ORDERS = {
  file: () => 0,
  // wrong answers, the highest score first; then right answers, the lowest score first
  worst: row => row[ERROR] ? undefined : isWrong(row) ? -1 - main(row)[SCORE] : main(row)[SCORE],
  high: row => negative(main(row)?.[SCORE]),
  low: row => main(row)?.[SCORE],
  trust: row => leastTrusted(main(row)?.[TRUST]),
  class: row => alphabetical.get(main(row)?.[CLASS]),
  border: row => negative(row[BORDER]),
  away: row => negative(row[AWAY]),
};

function negative(number) { return (number ?? null) === null ? undefined : -number; }

function leastTrusted(trust) { return trust ? trust[1] ?? (trust[0] === DOUBTFUL ? 0 : undefined) : undefined; }

function sort() {
  const value = ORDERS[byId("order").value], keys = new Float64Array(rows.length);
  for (const place of chosen) keys[place] = value(rows[place]) ?? Infinity;
  chosen.sort((a, b) => keys[a] - keys[b] || a - b);
}

byId("worst").hidden = !rows.some(isWrong);
byId("trust").hidden = !rows.some(row => main(row)?.[TRUST]);
byId("order").value = byId("worst").hidden ? "file" : "worst";

let chosen = [], columns = 1, current = 0;
const shown = new Map();

function choose() {
  const [text, index, expected, flag, kind] = ["search", "class", "expected", "flag", "warning"].map(id => byId(id).value);
  const [low, high] = ["low", "high"].map(id => byId(id).valueAsNumber);
  const wanted = text.toLowerCase();
  chosen = [];
  rows.forEach((row, place) => {
    const one = main(row);
    const fits = (!wanted || row[FILE].toLowerCase().includes(wanted))
      && (index === "" || (one && one[CLASS] === Number(index)))
      && (expected === "" || (row[EXPECTED] && row[EXPECTED][0] === Number(expected)))
      && (!flag || row[FLAGS].includes(flag))
      && (!kind || warningsOf(row).some(warning => kindOf(warning) === kind))
      && (isNaN(low) || (one && one[SCORE] >= low)) && (isNaN(high) || (one && one[SCORE] <= high));
    if (fits) chosen.push(place);
  });
  sort();
  current = 0;
  byId("count").textContent = chosen.length === rows.length ? images(rows.length) : `${chosen.length} of ${images(rows.length)}`;
  byId("all").hidden = chosen.length === rows.length;
  for (const card of shown.values()) card.remove();
  shown.clear();
  draw();
}

// only the cards near the screen exist

function draw() {
  const grid = byId("grid"), style = getComputedStyle(grid);
  const inside = grid.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  columns = Math.max(1, Math.floor((inside + GAP) / (WIDTH + GAP)));
  const width = (inside + GAP) / columns - GAP;
  grid.style.height = `${Math.ceil(chosen.length / columns) * (HEIGHT + GAP)}px`;
  const top = -grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((top - innerHeight) / (HEIGHT + GAP))) * columns;
  const last = Math.min(chosen.length, Math.ceil((top + 2 * innerHeight) / (HEIGHT + GAP)) * columns);
  for (const [number, card] of shown) if (number < first || number >= last) { card.remove(); shown.delete(number); }
  for (let number = first; number < last; number++) {
    if (!shown.has(number)) { shown.set(number, cardOf(number)); grid.append(shown.get(number)); }
    const card = shown.get(number), row = Math.floor(number / columns), column = number % columns;
    card.style.cssText = `top:${row * (HEIGHT + GAP)}px;left:${parseFloat(style.paddingLeft) + column * (width + GAP)}px;` +
      `width:${width}px;height:${HEIGHT}px`;
  }
  stop(Math.max(0, Math.floor(top / (HEIGHT + GAP))) * columns);
}

// Tab goes to one card: the last that had the focus, or else the first on the screen. The arrow keys go to the others.
function stop(first) {
  const at = shown.has(current) ? current : first;
  for (const [number, card] of shown) card.tabIndex = number === at ? 0 : -1;
}

function cardOf(number) {
  const row = rows[chosen[number]], card = element("figure"), pictures = element("div", undefined, "pictures"), caption = element("figcaption");
  card.role = "button";
  card.title = row[FILE];
  card.append(pictures, caption);
  card.addEventListener("click", () => open(number));
  card.addEventListener("focus", () => { current = number; stop(number); });
  card.addEventListener("keydown", event => pressed(event, number));
  if (row[ERROR]) {
    card.classList.add("failed");
    pictures.append(element("p", row[ERROR]));
    caption.append(element("div", tail(row[FILE]), "file"));
    return card;
  }
  for (const one of row[EXPLANATIONS].slice(0, 2)) if (one[THUMBNAIL]) pictures.append(picture(one[THUMBNAIL], row, one));
  if (!pictures.children.length) pictures.append(element("p", "no picture was requested"));
  const one = main(row), heading = element("div", undefined, "class"), marks = element("div", undefined, "marks");
  const [name, figure] = answered(one);
  heading.append(element("span", name), element("b", figure));
  caption.append(heading);
  if (isWrong(row)) caption.append(element("div", `expected: ${named(row[EXPECTED][0])} ${score(row[EXPECTED][1])}`, "expected"));
  caption.append(element("div", tail(row[FILE]), "file"));
  for (const flag of row[FLAGS]) if (flag !== "wrong") marks.append(element("span", flag, "mark", ...(GRAVE.includes(flag) ? [] : ["plain"])));
  const warnings = warningsOf(row).length;
  if (warnings) marks.append(element("span", warnings === 1 ? "1 warning" : `${warnings} warnings`, "mark", "note"));
  caption.append(marks);
  return card;
}

function pressed(event, number) {
  const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -number, End: chosen.length - 1 - number};
  if (event.key === "Enter" || event.key === " ") { if (!event.repeat) open(number); }
  else if (event.key in steps) focus(number + steps[event.key]);
  else return;
  event.preventDefault();  // otherwise the same key also scrolls the page, or presses a button in the dialog
}

function focus(number) {
  if (!(number in chosen)) return;
  if (!shown.has(number)) {  // cards far from the screen do not exist
    scrollTo(0, byId("grid").offsetTop + Math.floor(number / columns) * (HEIGHT + GAP) - innerHeight / 3);
    draw();
  }
  shown.get(number).focus({preventScroll: true});  // the card that was opened last, or the first card after filtering
  shown.get(number).scrollIntoView({block: "nearest"});
}

function picture(path, row, one) {
  const image = element("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.src = href(pathOf(row, path));
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 256));
  image.alt = `Heat of ${named(one[CLASS])} over ${row[FILE]}`;
  return image;
}

let opened = 0;

function open(number) {
  if (!(number in chosen)) return;
  opened = number;
  const row = rows[chosen[number]], large = element("div", undefined, "large"), file = element("h2", row[FILE]);
  file.id = "file";
  for (const one of row[EXPLANATIONS]) {
    const part = element("div");
    part.append(element("h3", answered(one).join(" ")));
    if (one[OVERLAY]) part.append(picture(one[OVERLAY], row, one));
    const target = textOf(one[TARGET]), about = target === named(one[CLASS]) ? "" : `${target}, `;
    part.append(element("p", about + textOf(one[METHOD]) + trusted(one[TRUST]), "fine"));
    for (const warning of one[WARNINGS]) part.append(element("div", textOf(warning), "warning"));
    large.append(part);
  }
  const expected = row[EXPECTED] ? `Expected: ${named(row[EXPECTED][0])} ${score(row[EXPECTED][1])}. ` : "";
  const words = row[ERROR] || expected + row[FLAGS].filter(flag => flag !== "wrong").join(", ");
  const apart = row[EXPLANATIONS].find(one => one[AGAINST]);
  byId("large").replaceChildren(file, element("p", words), ...(apart ? [against(row, apart), element("h3", "Each map on its own scale")] : []), large);
  byId("place").textContent = `${number + 1} of ${chosen.length.toLocaleString("en")}`;
  byId("before").disabled = number === 0;
  byId("after").disabled = number === chosen.length - 1;
  if (!byId("one").open) byId("one").showModal();
  byId("one").focus();  // not a button: a key that is held down would press it
}

byId("one").addEventListener("click", event => { if (event.target === byId("one")) byId("one").close(); });
byId("one").addEventListener("close", () => focus(opened));
byId("one").addEventListener("keydown", event => {
  const steps = {ArrowLeft: -1, ArrowRight: 1};
  if (event.key in steps) { open(opened + steps[event.key]); event.preventDefault(); }
});
byId("close").addEventListener("click", () => byId("one").close());
byId("before").addEventListener("click", () => open(opened - 1));
byId("after").addEventListener("click", () => open(opened + 1));

// findings

const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const palette = bytesOf(about.palette), signedPalette = bytesOf(about.signed);

function heatmap(text) {
  const canvas = element("canvas"), bytes = new Int8Array(bytesOf(text).buffer);
  const side = Math.sqrt(bytes.length), pixels = new ImageData(side, side);
  bytes.forEach((level, place) => {
    const colour = 3 * Math.max(0, Math.round(level * 255 / 127));
    pixels.data.set([palette[colour], palette[colour + 1], palette[colour + 2], 255], 4 * place);
  });
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// a wrong answer: one picture holds the photograph, both classes and their difference, side by side

const ramp = bytes => `linear-gradient(to right, ${[...Array(17).keys()].map(step => {
  const at = 3 * Math.round(255 * step / 16);
  return `rgb(${bytes[at]} ${bytes[at + 1]} ${bytes[at + 2]})`;
})})`;

function against(row, one) {
  const [path, end, unit] = one[AGAINST], made = element("div", undefined, "against"), [expected, its] = row[EXPECTED];
  const last = `${Number(end.toPrecision(3))}${textOf(unit) === "logits" ? " logits" : ""}`, name = named(one[CLASS]);
  const parts = [["The photograph"], [`Predicted: ${answered(one).join(" ")}`, palette, "0", last], [`Expected: ${named(expected)} ${score(its)}`, palette, "0", last],
    [`For ${name} over ${named(expected)}`, signedPalette, `-${last}`, last]];
  parts.forEach(([caption, colours, low, high], place) => {
    const part = element("div"), box = element("div", undefined, "quarter"), image = element("img");
    image.src = href(pathOf(row, path));
    image.alt = `${caption}: ${row[FILE]}`;
    image.style.marginLeft = `${-100 * place}%`;
    box.append(image);
    part.append(box, element("div", caption, "caption"));
    if (colours) {
      const bar = element("div", undefined, "bar");
      bar.style.background = ramp(colours);
      const ends = element("div", undefined, "ends");
      ends.append(element("span", low), element("span", high));
      part.append(bar, ends);
    }
    made.append(part);
  });
  return made;
}

function trusted(trust) {
  return trust ? `, trust: ${trust[0]}${trust[1] === null ? "" : ` (${Math.round(100 * trust[1])} %)`}` : "";
}

function filter(values) {
  for (const id of FILTERS) byId(id).value = values[id] ?? "";
  if (values.order) byId("order").value = values.order;
  choose();
  document.querySelector("nav").scrollIntoView();
  focus(0);
}

function showing(text, values) {
  const button = element("button", text);
  button.addEventListener("click", () => filter(values));
  return button;
}

function sentence({text, kind, flag, of}) {
  const item = element("li", text);
  if (kind) item.classList.add(kind === "cannot tell" ? "unknown" : kind);
  if (flag) item.append(" ", showing("show them", {flag, class: of === null ? "" : String(about.labels.indexOf(of))}));
  return item;
}

function sentences() {
  // there may be hundreds of findings; the pictures must stay visible without much scrolling
  const items = about.sentences.map(sentence), more = items.splice(SENTENCES), [summary, list] = byId("more").children;
  byId("sentences").append(...items);
  list.append(...more);
  summary.textContent = `${more.length} more`;
  byId("more").hidden = !more.length;
}

function means() {
  const classes = about.findings.classes.filter(one => one.images).sort((a, b) => b.images - a.images);
  for (const one of classes) {
    const button = showing("", {class: String(one.class_index)});
    button.append(heatmap(one.mean), element("span", `${one.class_name} (${one.images})`));
    byId("classes").append(button);
  }
}

sentences();
byId("means").addEventListener("toggle", means, {once: true});
byId("means").hidden = !about.findings.classes.some(one => one.images);

for (const id of [...FILTERS, "order"]) byId(id).addEventListener("input", choose);
byId("all").addEventListener("click", () => filter({}));
addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
addEventListener("resize", draw);
choose();
