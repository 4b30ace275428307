
// the section of answers, if classes are known

const {classes: each, confusions, matrix, known} = about.answers;
const OPEN = 12;  // with up to this many classes, table and matrix are open at first on wide screens
const meanOf = new Map(about.findings.classes.filter(one => one.images).map(one => [one.class_index, one.mean]));
const percent = share => share === null ? "-" : `${Math.round(100 * share)} %`;
const ofThose = one => `${one.class_name}, ${one.right} of ${one.images}`;

function cell(text, ...classes) { return element("td", text, ...classes); }

function classRow(one) {
  const row = element("tr"), name = element("td"), only = {expected: String(one.class_index)};
  name.append(one.images ? showing(one.class_name, only) : element("span", one.class_name));
  row.append(name);
  for (const number of [one.images, one.right, percent(one.recall), percent(one.precision)]) row.append(cell(String(number), "number"));
  const mean = cell(undefined, "mean");
  if (meanOf.has(one.class_index)) mean.append(heatmap(meanOf.get(one.class_index)));
  row.append(mean);
  return row;
}

function counts() {
  const indices = each.map(one => one.class_index).sort((a, b) => a - b), table = element("table", undefined, "matrix");
  const heads = element("tr");
  heads.append(element("td"), ...matrix.classes.map(name => head("col", name, "upright")));
  table.append(heads);
  matrix.counts.forEach((row, down) => {
    const line = element("tr"), total = row.reduce((sum, count) => sum + count, 0);
    line.append(head("row", matrix.classes[down]));
    row.forEach((count, across) => {
      const one = cell(undefined, "number"), words = `expected ${matrix.classes[down]}, predicted ${matrix.classes[across]}: ${count}`;
      one.style.setProperty("--share", total ? `${Math.round(80 * count / total)}%` : "0%");
      one.classList.add(down === across ? "hit" : "miss");
      one.title = words;
      if (count) {
        const button = showing(String(count), {expected: String(indices[down]), class: String(indices[across])});
        button.ariaLabel = words;
        button.tabIndex = -1;
        one.append(button);
      }
      line.append(one);
    });
    table.append(line);
  });
  table.querySelector("button").tabIndex = 0;  // Tab goes to one of the numbers, the arrow keys to the others
  table.addEventListener("keydown", stepped);
  return table;
}

function head(scope, name, ...classes) {
  const made = element("th", name, ...classes);
  made.scope = scope;
  return made;
}

function stepped(event) {
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  const lines = event.currentTarget.rows, from = event.target.closest("td");
  if (!step || !from) return;
  event.preventDefault();
  let [across, down] = [from.cellIndex + step[0], from.parentElement.rowIndex + step[1]];
  while (lines[down]?.cells[across] && !lines[down].cells[across].querySelector("button")) { across += step[0]; down += step[1]; }
  const button = lines[down]?.cells[across]?.querySelector("button");
  if (!button) return;
  event.target.tabIndex = -1;
  button.tabIndex = 0;
  button.focus();
}

function pairs() {
  const list = element("ul", undefined, "pairs");
  for (const one of confusions) {
    const item = element("li", `${one.expected} predicted as ${one.predicted}, ${one.count} of ${one.of} `);
    item.append(showing("show them", {expected: String(one.expected_index), class: String(one.predicted_index)}));
    list.append(item);
  }
  return list;
}

function answers() {
  const shown = each.filter(one => one.images), [first, last] = [shown[0], shown.at(-1)];
  byId("right").textContent = `${about.right}. `;
  if (confusions.length) byId("right").append(showing("show wrong answers, highest score first", {flag: "wrong", order: "high"}));
  byId("each").firstElementChild.textContent = `By class: from ${ofThose(first)} right` + (last === first ? "" : `, to ${ofThose(last)}`);
  const few = each.length <= OPEN, table = () => byId("each").querySelector("tbody").append(...each.map(classRow));
  if (few) table();
  else byId("each").addEventListener("toggle", table, {once: true});
  byId("each").open = byId("confused").open = few && innerWidth >= 900;
  const [most] = confusions;
  byId("confused").hidden = !most;
  if (!most) return;
  byId("confused").firstElementChild.textContent = (matrix ? "Confusion matrix" : "Confusions") + (most.count === 1 ? ", each once"
    : `: most often ${most.expected} is predicted as ${most.predicted}, ${most.count} of ${most.of}`);
  byId("reading").hidden = !matrix;
  byId("confused").lastElementChild.append(matrix ? counts() : pairs());
}

byId("answers").hidden = !known;
if (known) answers();
