// The field for a class: it finds all names that contain the typed text. It is a combobox with a list, see
// https://www.w3.org/WAI/ARIA/apg/patterns/combobox/. Without JavaScript it is a text field.

const MOST = 1000; // names in the list; if there are more, a message says so

// names: () -> promise of all names, by index; an index without a name is left out. best: () -> indices that come first
// while the field is empty. saying: index -> the text behind a name. choose(name, index): the user selected a name.
// submit(): the user pressed Enter on the typed text. preview(index): the user points at a name; null: no longer.
export function searchClasses({ input, list, found, names, best, saying, choose, submit, preview }) {
  let shown = [];
  let active = -1;
  let asked = 0;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  close();

  function close() {
    asked += 1; // names that arrive later are ignored
    active = -1;
    list.hidden = true;
    found.textContent = "";
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    preview(null);
  }

  async function open() {
    const mine = (asked += 1);
    const all = await names().catch(() => []);
    if (mine !== asked || input.getRootNode().activeElement !== input) return;
    const text = input.dataset.index ? "" : input.value;
    const matches = text.trim() ? matching(all, text) : everyOne(all);
    shown = matches.slice(0, MOST);
    list.replaceChildren(...shown.map((index, place) => option(all, index, place)));
    found.textContent = said(matches.length, Object.keys(all).length, text);
    list.hidden = !shown.length;
    const { top, bottom } = input.getBoundingClientRect();
    list.classList.toggle("above", innerHeight - bottom < list.offsetHeight && top > innerHeight - bottom);
    list.scrollTop = 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(shown.length && text.trim() ? 0 : -1);
  }

  function everyOne(all) {
    return [...new Set([...best(), ...Object.keys(all).map(Number)])].filter((index) => all[index] !== undefined);
  }

  function option(all, index, place) {
    const item = document.createElement("li");
    item.id = `${list.id}-${place}`;
    item.setAttribute("role", "option");
    const [name, behind] = ["span", "output"].map((kind) => item.appendChild(document.createElement(kind)));
    name.textContent = all[index];
    if (all.indexOf(all[index]) !== all.lastIndexOf(all[index])) name.textContent += ` (number ${index})`;
    behind.textContent = saying(index);
    item.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    item.addEventListener("click", () => take(all[index], index));
    item.addEventListener("pointerenter", () => preview(index));
    item.addEventListener("pointerleave", () => preview(null));
    item.dataset.index = index;
    item.dataset.name = all[index];
    return item;
  }

  function mark(place) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = place;
    const item = list.children[place];
    if (!item) return input.removeAttribute("aria-activedescendant");
    item.setAttribute("aria-selected", "true");
    preview(Number(item.dataset.index));
    item.scrollIntoView({ block: "nearest" });
    return input.setAttribute("aria-activedescendant", item.id);
  }

  function take(name, index) {
    close();
    choose(name, Number(index));
  }

  input.addEventListener("input", open);
  input.addEventListener("click", () => list.hidden && open());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", async (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) await open();
      else mark((active + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % shown.length);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const item = list.hidden ? null : list.children[active];
      if (item) return take(item.dataset.name, item.dataset.index);
      close();
      submit();
    }
    return undefined;
  });
}

// Indices of the names that contain every word of the text. First the name that equals the text, then names that contain
// the text as whole words, then names that begin with it, then the rest.
function matching(all, text) {
  const wanted = text.trim().toLowerCase();
  const words = wanted.split(/\s+/).filter(Boolean);
  const ranked = [];
  all.forEach((name, index) => {
    const lower = name.toLowerCase();
    if (words.every((word) => lower.includes(word))) ranked.push([rank(lower, wanted), index]);
  });
  return ranked.sort(([a, i], [b, j]) => a - b || i - j).map(([, index]) => index);
}

function rank(name, wanted) {
  if (!wanted || name === wanted) return 0;
  if (` ${name} `.includes(` ${wanted} `)) return 1;
  if (name.startsWith(wanted)) return 2;
  return name.includes(` ${wanted}`) ? 3 : 4;
}

function said(count, all, text) {
  if (!all) return "";
  if (!text.trim()) return `${all} classes; type part of a name`;
  if (!count) return "No class name contains this text";
  return count > MOST ? `The first ${MOST} of ${count} classes` : `${count} of ${all} classes`;
}
