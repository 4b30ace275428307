// The names of a model's classes, and the sentences that stand for them where the model takes sentences.

const $ = (id) => document.getElementById(id);
const form = $("form");
const classesOf = new Map();

export const modelName = () => $("model")?.value ?? form.dataset.model;

// Sentences are for models that compare images with them; the field is there for those alone.
export function offerSentences() {
  if (!$("labels")) return;
  const takes = $("labels").dataset.models.split(" ").includes(modelName());
  for (const one of [$("labels"), $("sentences"), form.querySelector("label[for=labels]")]) one.hidden = !takes;
  $("labels").disabled = !takes;
}

const sentences = () => ($("labels")?.disabled === false ? $("labels").value.split(/[\n;]/) : [])
  .map((one) => one.trim()).filter(Boolean);

// Promise of the names by index; of each model they are asked for once.
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
