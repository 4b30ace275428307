// The names of a model's classes, and the sentences that replace them for models that take sentences.

const $ = (id) => document.getElementById(id);
const form = $("form");
const classesOf = new Map();

export const modelName = () => $("model")?.value ?? form.dataset.model;

// Shows the field for sentences only for models that compare images with sentences.
export function offerSentences() {
  if (!$("labels")) return;
  const takes = $("labels").dataset.models.split(" ").includes(modelName());
  for (const one of [$("labels"), $("sentences"), form.querySelector("label[for=labels]")]) one.hidden = !takes;
  $("labels").disabled = !takes;
}

const sentences = () => ($("labels")?.disabled === false ? $("labels").value.split(/[\n;]/) : [])
  .map((one) => one.trim()).filter(Boolean);

// Promise of the names by index. The names of each model are requested once.
export function classNames() {
  if (sentences().length) return Promise.resolve(sentences());
  const model = modelName();
  if (!classesOf.has(model)) {
    const address = `${form.dataset.models}/${encodeURIComponent(model)}/classes`;
    const names = fetch(address).then(async (answer) => (answer.ok ? (await answer.json()).classes : Promise.reject()));
    names.catch(() => classesOf.delete(model));
    classesOf.set(model, names);
  }
  return classesOf.get(model);
}
