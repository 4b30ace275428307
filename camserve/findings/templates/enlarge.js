"use strict";
// A link to a picture opens a dialog with all pictures of its group. Without JavaScript it stays a link.
const groups = [...document.querySelectorAll("[data-group]")], dialog = document.getElementById("one");
const byId = id => document.getElementById(id);
const linksOf = group => group.matches("a") ? [group] : [...group.querySelectorAll("a[href]")];
let at = 0;

function open(place) {
  if (!(place in groups)) return;
  at = place;
  const group = groups[at], parts = linksOf(group).map(link => {
    const part = document.createElement("div"), image = new Image();
    image.src = link.href;
    image.alt = link.querySelector("img").alt;
    part.append(image, ...[...link.children].filter(one => one.tagName !== "IMG").map(one => one.cloneNode(true)));
    return part;
  });
  byId("large").replaceChildren(...parts);
  byId("words").replaceChildren(...(group.nextElementSibling?.matches(".words") ? group.nextElementSibling.cloneNode(true).childNodes : []));
  byId("place").textContent = `${at + 1} of ${groups.length}`;
  byId("before").disabled = at === 0;
  byId("after").disabled = at === groups.length - 1;
  if (!dialog.open) dialog.showModal();
  dialog.focus();
}

const STEPS = {ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1};

groups.forEach((group, place) => {
  for (const link of linksOf(group)) {
    link.addEventListener("click", event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;  // the browser opens a new tab or window
      event.preventDefault();
      open(place);
    });
    link.addEventListener("keydown", event => {
      if (event.repeat && event.key === "Enter") event.preventDefault();
      if (event.key === " ") { event.preventDefault(); open(place); }
      if (event.key in STEPS && place + STEPS[event.key] in groups) {
        event.preventDefault();
        linksOf(groups[place + STEPS[event.key]])[0].focus();
      }
    });
  }
});
dialog.addEventListener("keydown", event => {
  if (event.key in STEPS) { event.preventDefault(); open(at + STEPS[event.key]); }
});
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => linksOf(groups[at])[0].focus());
byId("close").addEventListener("click", () => dialog.close());
byId("before").addEventListener("click", () => open(at - 1));
byId("after").addEventListener("click", () => open(at + 1));
