
// answers, where classes are known

const {classes: each, confusions, matrix, known} = about.answers;
const percent = share => share === null ? "-" : `${Math.round(100 * share)} %`;
const ofThose = one => `${one.class_name}, ${one.right} of ${one.images}`;

function cell(text, ...classes) { return element("td", text, ...classes); }

function classRow(one) {
  const row = element("tr"), name = element("td"), only = {expected: String(one.class_index)};
  name.append(one.images ? showing(one.class_name, only) : element("span", one.class_name));
  row.append(name);
  for (const number of [one.images, one.right, percent(one.recall), percent(one.precision)]) row.append(cell(String(number), "number"));
  return row;
}

function counts() {
  const indices = each.map(one => one.class_index).sort((a, b) => a - b), table = element("table", undefined, "matrix");
  const heads = element("tr");
  heads.append(element("td"), ...matrix.classes.map(name => element("th", name, "upright")));
  table.append(heads);
  matrix.counts.forEach((row, down) => {
    const line = element("tr"), total = row.reduce((sum, count) => sum + count, 0);
    line.append(element("th", matrix.classes[down]));
    row.forEach((count, across) => {
      const one = cell(undefined, "number"), words = `${matrix.classes[down]}, answered ${matrix.classes[across]}: ${count}`;
      one.style.setProperty("--share", total ? `${Math.round(80 * count / total)}%` : "0%");
      one.classList.add(down === across ? "hit" : "miss");
      one.title = words;
      if (count) one.append(showing(String(count), {expected: String(indices[down]), class: String(indices[across])}));
      line.append(one);
    });
    table.append(line);
  });
  return table;
}

function pairs() {
  const list = element("ul", undefined, "pairs");
  for (const one of confusions) {
    const item = element("li", `${one.expected} taken for ${one.predicted}, ${one.count} of ${one.of} `);
    item.append(showing("show them", {expected: String(one.expected_index), class: String(one.predicted_index)}));
    list.append(item);
  }
  return list;
}

function answers() {
  const shown = each.filter(one => one.images), [first, last] = [shown[0], shown.at(-1)];
  byId("right").textContent = `${about.right}. `;
  if (confusions.length) byId("right").append(showing("show the worst: wrong answers, the surest first", {flag: "wrong", order: "high"}));
  byId("each").firstElementChild.textContent = `Class by class: from ${ofThose(first)} right` + (last === first ? "" : `, to ${ofThose(last)}`);
  byId("each").querySelector("tbody").append(...each.map(classRow));
  const [most] = confusions;
  byId("confused").hidden = !most;
  if (!most) return;
  byId("confused").firstElementChild.textContent = (matrix ? "Confusion matrix" : "Confusions") + (most.count === 1 ? ", each once"
    : `: most often ${most.expected} is taken for ${most.predicted}, ${most.count} of ${most.of}`);
  byId("reading").hidden = !matrix;
  byId("confused").lastElementChild.append(matrix ? counts() : pairs());
}

byId("answers").hidden = !known;
if (known) answers();
