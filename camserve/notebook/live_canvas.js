// START HERE. The widget in the browser draws one explanation with the page's own modules. The choices are in the model that
// Python shares. A change of a control is drawn at once.

import { searchClasses } from "../web/static/classes.js";
import { Found } from "../web/static/found.js";
import { colourBar, drawHeat, groundOf, lookAt, paletteFrom, scaleEnds } from "../web/static/picture/drawing.js";

const SMALL = 128; // pixels of a side up to which a photograph is drawn pixel by pixel, as picture.js has it

const MARKUP = `
  <div class="picture">
    <div class="frame"><canvas class="photo"></canvas><canvas class="heat" role="img"></canvas></div>
    <p class="evidence">Evidence for <b class="for"></b>, by <span class="by"></span></p>
    <p class="scale"><span class="low"></span><canvas class="bar" aria-hidden="true"></canvas><span class="high"></span></p>
  </div>
  <div class="controls">
    <div class="search">
      <label class="title">Class</label>
      <input type="text" autocomplete="off" spellcheck="false">
      <ul class="classes" role="listbox" aria-label="Classes" hidden></ul>
      <p class="found" role="status"></p>
      <button class="back" type="button" hidden></button>
    </div>
    <label>Heat <input data-choice="alpha" type="range" min="0" max="1" step="0.01" aria-label="Opacity of the heat"></label>
    <label>Before and after <input data-choice="split" type="range" min="0" max="1" step="0.01"
      aria-label="How much of the photograph is shown without heat, from the left"></label>
    <label>Colours <select data-choice="colormap"></select></label>
    <label><input data-choice="smooth" type="checkbox"> Smooth between the cells</label>
    <label><input data-choice="signed" type="checkbox"> Show what speaks against</label>
    <label><input data-choice="grey" type="checkbox"> Photograph in grey</label>
    <span class="pair">
      <label><input data-choice="contour" type="checkbox"> Outline</label>
      <label><input data-choice="boxes" type="checkbox"> Boxes</label>
    </span>
    <label>Outline and boxes from <output></output>
      <input data-choice="threshold" type="range" min="0" max="1" step="0.01" aria-label="Outline and boxes from this share of the peak"></label>
    <ul class="warnings"></ul>
  </div>`;

let opened = 0; // widgets of this notebook: each has names of its own for what labels refer to

class LiveCanvas {
  // photo: an ImageBitmap.
  constructor(model, root, photo) {
    Object.assign(this, { model, root, photo, grounds: {}, previewed: null, asked: false });
    this.content = model.get("content");
    this.found = new Found(this.content.answer, this.content.difference);
    root.innerHTML = MARKUP;
    this.$ = (selector) => root.querySelector(selector);
    this.choices = [...root.querySelectorAll("[data-choice]")];
    this.setPhotograph();
    this.$(".by").textContent = this.content.by;
    if (this.found.live && this.found.maps.count > 1) this.offerClasses();
    else this.$(".search").remove();
    for (const control of this.choices) control.addEventListener("input", () => this.choose(control));
    this.changed = () => this.show();
    model.on("change", this.changed);
    this.show();
  }

  setPhotograph() {
    const { width, height } = this.photo;
    const canvas = this.$(".photo");
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").drawImage(this.photo, 0, 0);
    this.$(".frame").style.setProperty("--ratio", width / height);
    this.$(".frame").classList.toggle("small", Math.max(...this.found.size) <= SMALL);
  }

  // ---- the choices

  offerClasses() {
    const { found, root } = this;
    const input = this.$(".search input");
    const names = [];
    for (const index of found.maps.classes) names[index] = found.names[index] ?? `class ${index}`;
    opened += 1;
    input.id = `camserve-class-${opened}`;
    this.$(".search label").htmlFor = input.id;
    this.$(".classes").id = `camserve-classes-${opened}`;
    input.addEventListener("input", () => delete input.dataset.index); // before the search hears of it
    for (const event of ["focus", "click"]) input.addEventListener(event, () => input.select());
    searchClasses({
      input,
      list: this.$(".classes"),
      found: this.$(".found"),
      names: () => Promise.resolve(names),
      best: () => found.answer.top.map((one) => one.class_index),
      saying: (index) => found.scores[index] ?? "",
      preview: (index) => this.preview(index),
      choose: (name, index) => {
        this.set({ class_index: index });
        this.showClass();
      },
      submit: () => this.showClass(),
    });
    input.addEventListener("blur", () => this.showClass());
    this.$(".back").textContent = `Back to ${found.name(found.target)}`;
    this.$(".back").addEventListener("click", () => this.set({ class_index: null }));
  }

  choose({ type, dataset: { choice }, checked, value }) {
    const chosen = type === "checkbox" ? checked : type === "range" ? Number(value) : value || null;
    this.set({ [choice]: chosen, ...(choice === "signed" ? { colormap: null } : {}) });
  }

  set(choices) {
    for (const [name, value] of Object.entries(choices)) this.model.set(name, value);
    this.model.save_changes();
  }

  // The user points at a class; null: no longer.
  preview(index) {
    this.previewed = index;
    this.redraw();
  }

  // The target that is shown: a class, or the explained target.
  get target() {
    const index = this.previewed ?? this.model.get("class_index");
    return index === null || !this.found.live ? this.found.target : { index, against: null };
  }

  // ---- drawing

  show() {
    this.offerColours();
    for (const control of this.choices) {
      const value = this.model.get(control.dataset.choice);
      if (control.type === "checkbox") control.checked = value;
      else control.value = value ?? "";
    }
    const shares = this.model.get("contour") || this.model.get("boxes");
    this.$("[data-choice=threshold]").disabled = !shares;
    this.$("[data-choice=signed]").disabled = this.content.answer.unit === "relative";
    this.$("output").textContent = `${Math.round(100 * this.model.get("threshold"))} % of the peak`;
    this.$(".frame").style.setProperty("--split", `${100 * this.model.get("split")}%`);
    this.$(".frame").style.setProperty("--moved", 100 * this.model.get("split"));
    this.showClass();
    this.showWarnings();
    this.redraw();
  }

  showClass() {
    const input = this.$(".search input");
    if (!input) return; // there is one map alone
    input.value = this.found.name(this.target);
    input.dataset.index = this.target.index; // the name of a class, and no text to look for
    this.$(".back").hidden = this.found.target.against === null || this.target === this.found.target;
  }

  // Warnings are about the explained class. For another class, the text says that they were not computed.
  showWarnings() {
    const { found, target } = this;
    const isOwn = target === found.target || (target.index === found.target.index && found.target.against === null);
    const other = `camserve looked for warnings about ${found.name(found.target)} alone. model.explain(image, target=…) has those about another class.`;
    const warnings = isOwn ? found.answer.warnings : [other];
    this.$(".warnings").replaceChildren(...warnings.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    this.$(".warnings").hidden = !warnings.length;
  }

  offerColours() {
    const palettes = this.model.get("palettes");
    if (palettes === this.offered) return;
    this.offered = palettes;
    const known = Object.values(this.content.colormaps).flat();
    const Others = Object.keys(palettes).filter((name) => !known.includes(name)); // set by Python
    const groups = Object.entries({ ...this.content.colormaps, ...(Others.length ? { Others } : {}) });
    this.$("select").replaceChildren(new Option("Automatic", ""), ...groups.map(([label, names]) => {
      const group = Object.assign(document.createElement("optgroup"), { label });
      group.append(...names.map((name) => new Option(palettes[name][0], name)));
      return group;
    }));
  }

  palette(signed) {
    const name = this.model.get("colormap") ?? this.content.automatic[signed ? 1 : 0];
    return paletteFrom(this.model.get("palettes")[name][1]);
  }

  // Draws once before the next frame, for any number of changes.
  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (!this.closed) this.draw();
    });
  }

  draw() {
    const choice = { clip: 100, bare: false };
    for (const name of ["alpha", "signed", "grey", "smooth", "contour", "boxes", "threshold"]) choice[name] = this.model.get(name);
    const heat = this.found.heat(this.target);
    const look = lookAt(heat, choice, (signed) => this.palette(signed));
    look.end = this.model.get("scale") ?? look.end;
    this.grounds[look.grey] ??= groundOf(this.photo, [this.photo.width, this.photo.height], look.grey);
    drawHeat(this.$(".heat"), this.grounds[look.grey], heat, look);
    const name = this.found.name(this.target);
    this.$(".heat").setAttribute("aria-label", `Where the evidence for ${name} is, by ${this.content.by}`);
    this.$(".for").textContent = name;
    colourBar(this.$(".bar"), look.palette);
    this.$(".bar").classList.toggle("signed", look.signed);
    [this.$(".low").textContent, this.$(".high").textContent] = scaleEnds(heat, look, look.end);
  }

  close() {
    this.closed = true;
    this.model.off("change", this.changed);
    this.photo.close();
  }
}

// anywidget calls this for each place in the notebook that shows the widget.
async function render({ model, el }) {
  const root = Object.assign(document.createElement("div"), { className: "camserve-canvas" });
  root.dataset.lmSuppressShortcuts = "true"; // notebooks have keys of their own: JupyterLab's would take a slider's arrows
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(root);
  const { buffer, byteOffset, byteLength } = model.get("photo");
  const photo = await createImageBitmap(new Blob([new Uint8Array(buffer, byteOffset, byteLength)], { type: "image/png" }));
  const canvas = new LiveCanvas(model, root, photo);
  return () => canvas.close();
}

export default { render };
