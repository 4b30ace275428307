// Asking the service: the form's options and a photograph in, an answer out.

// A loading model and a full queue pass by themselves; this many tries, then the reader decides.
const PATIENCE = 20;
// A setting's name is for who runs the service; routes/page.py has the same.
const SETTING = / \((?:limits|serve|explain|render|compute|models)\.[a-z_]+\)/g;
// How an answer is drawn, which is done here: no other answer comes of it.
const DRAWN = ["colormap", "contour", "boxes", "signed", "grey", "threshold"];

// form: its data-explain is where it asks. told(text): why it takes long.
export class Service {
  constructor(form, told) {
    Object.assign(this, { form, told });
  }

  // options: of the form's, what is asked otherwise. Throws what the service says: code, message, status.
  // whole: whether what was sent is heard out though `signal` aborts, as something has begun by it.
  async ask(photo, accept, options, signal, address = this.form.dataset.explain, { whole = false } = {}) {
    for (let tries = 1; ; tries += 1) {
      signal?.throwIfAborted();
      const body = this.body(photo, options);
      const response = await fetch(address, { method: "POST", body, headers: { Accept: accept }, signal: whole ? null : signal });
      if (response.ok) return response;
      const problem = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
      const seconds = Number(response.headers.get("Retry-After"));
      if (!seconds || tries === PATIENCE) throw Object.assign(new Error(problem.detail), problem);
      this.told(problem.code === "busy" ? "Waiting for other requests …" : "Waiting for the model …");
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }

  body(photo, options) {
    const body = new FormData(this.form);
    body.set("image", photo, photo.name || "pasted");
    body.set("method", this.form.elements.method.value); // a form leaves out what cannot be chosen any more
    for (const name of DRAWN) body.delete(name);
    for (const [name, value] of Object.entries(options)) body.set(name, value);
    return body;
  }
}

// An error in words for who looks at a page: without settings, and without all the names there are.
export function plain({ code, message }, deadline, method) {
  if (code === "deadline_passed" && !message.startsWith("the job")) {
    return `There was no answer within ${deadline} s, which is the longest that one may take here. Choose a quicker method than ${method}, or a smaller size.`;
  }
  const said = message.replace(SETTING, "").replace(/^[a-z]/, (letter) => letter.toUpperCase());
  return code === "unknown_name" ? said.replace(/ Known: .*$/s, "") : said;
}
