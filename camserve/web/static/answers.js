// The model's answer: the best classes as bars, and the expected class.

import { said } from "./words.js";

const $ = (id) => document.getElementById(id);
const BEST = 5;

// answer: the service's answer. index: the class that is shown; null: no class. choose(name, index) and preview(index or
// null) are called when the user selects a class or points at one.
export function showAnswers(answer, index, { choose, preview }) {
  const refocus = $("top").contains(document.activeElement);
  const best = answer.top.slice(0, BEST);
  const inside = best.some((one) => one.class_index === index);
  const other = answer.top.find((one) => one.class_index === index) ?? answer;
  const listed = inside || index === null ? best : [...best, other];
  $("top").replaceChildren(...listed.map((one) => item(one, one.class_index === index, choose, preview)));
  if (refocus) $("top").querySelector("[aria-pressed=true]")?.focus();
  showOwn(answer);
  showWarnings(answer);
  showExpected(answer);
  $("answers").hidden = false;
}

function item(one, isShown, choose, preview) {
  const made = $("answer").content.cloneNode(true);
  made.querySelector("span").textContent = one.class_name;
  made.querySelector("output").textContent = said(one);
  made.querySelector("meter").value = one.score ?? 0;
  made.querySelector("meter").hidden = one.score === null;
  const button = made.querySelector("button");
  button.dataset.index = one.class_index;
  button.setAttribute("aria-pressed", isShown);
  button.addEventListener("click", () => choose(one.class_name, one.class_index));
  button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && preview(one.class_index));
  button.addEventListener("pointerleave", () => preview(null));
  button.addEventListener("focus", () => button.matches(":focus-visible") && preview(one.class_index));
  button.addEventListener("blur", () => preview(null));
  return made;
}

// The score for the map's input as text; "" if the scores are of the same input, and for a target of two classes.
export function inputScore({ class_index: index, logit, input_score: score, top }) {
  const listed = top.find((one) => one.class_index === index);
  const isOther = listed && listed.logit !== logit && (score !== null || listed.score === null);
  return isOther ? said({ score, logit }) : "";
}

function showOwn(answer) {
  $("own").hidden = !inputScore(answer);
  $("own").querySelector("b").textContent = answer.class_name;
  $("own").querySelector("output").textContent = inputScore(answer);
}

// Shows all warnings except the one that `showExpected` shows in its own words.
function showWarnings(answer) {
  const isMissed = (text) => answer.expected && text.includes("; expected was '");
  const warnings = answer.warnings.filter((text) => !isMissed(text));
  $("warnings").replaceChildren(...warnings.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  $("warnings").hidden = !warnings.length;
}

function showExpected({ expected, top }) {
  $("expectation").hidden = !expected;
  if (!expected) return;
  const place = expected.right
    ? `as you expected, ${said(expected)}`
    : `you expected ${expected.class_name}, which it ranks number ${expected.rank} with ${said({ logit: null, ...expected })}`;
  $("expectation").querySelector("span").textContent = `The model says ${top[0].class_name}, ${place}.`;
  $("difference").hidden = expected.right;
}
