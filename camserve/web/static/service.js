// Requests to the service: they send a photograph and the form's options, and give the answer.

// Requests are repeated this often while the model loads or the queue is full. Then the user decides.
const PATIENCE = 20;
// Names of settings in errors are for the operator, not for visitors. routes/page.py has the same pattern.
const SETTING = / \((?:limits|serve|explain|render|compute|models)\.[a-z_]+\)/g;
// Options of drawing. The page draws itself, so they do not change the answer.
const DRAWN = ["colormap", "contour", "boxes", "signed", "grey", "threshold"];

// form: its data-explain is the address. told(text): called with the reason for a wait.
export class Service {
  constructor(form, told) {
    Object.assign(this, { form, told });
  }

  // options: replace the form's. Throws the service's error: code, message, status.
  // whole: whether to wait for the answer even if `signal` aborts, because the request has started something.
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
    body.set("method", this.form.elements.method.value); // a form leaves out a disabled option
    for (const name of DRAWN) body.delete(name);
    for (const [name, value] of Object.entries(options)) body.set(name, value);
    return body;
  }
}

// The text of an error for visitors: without names of settings, and without long lists of known names.
export function plain({ code, message }, deadline, method) {
  if (code === "deadline_passed" && !message.startsWith("the job")) {
    return `There was no answer within ${deadline} s, the longest time allowed here. Choose a faster method than ${method} or a smaller size.`;
  }
  const said = message.replace(SETTING, "").replace(/^[a-z]/, (letter) => letter.toUpperCase());
  return code === "unknown_name" ? said.replace(/ Known: .*$/s, "") : said;
}
