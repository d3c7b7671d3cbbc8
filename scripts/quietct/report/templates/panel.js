"use strict";
// One panel: draws two layers left and right of a divider, and tells what the pointer and the keys do.

const DIVIDER_REACH = 14; // CSS pixels beside the divider that take hold of it

/**
 * @param figure the element
 * @param place  {zoom, x, y, cross} of all panels: factor, middle of the view and cross, in pixels of the slice
 * @param act    what the panel asks for: zoomBy(factor, at), panBy(dx, dy), setCross(point, spoken), setDivider(value, panel), reset()
 */
class Panel {
  constructor(figure, place, act) {
    this.figure = figure;
    this.method = figure.dataset.method;
    this.canvas = figure.querySelector("canvas");
    this.divider = figure.querySelector(".divider");
    this.place = place;
    this.act = act;
    this.layers = null;
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.fit()).observe(this.canvas);
  }

  /** Show two canvases of a slice, or null where there is none. */
  setLayers(layers, names) {
    this.layers = layers;
    this.figure.querySelector(".missing").hidden = layers !== null;
    this.figure.querySelector(".stage").hidden = layers === null;
    this.divider.hidden = layers === null;
    this.figure.querySelector(".side.left").textContent = names[0];
    this.figure.querySelector(".side.right").textContent = names[1];
    this.divider.setAttribute("aria-valuetext", this.dividerText(names));
    this.names = names;
    if (layers) this.canvas.style.aspectRatio = `${layers[0].width} / ${layers[0].height}`;
    this.fit();
  }

  dividerText(names) {
    return `${this.divider.value} % ${names[0]}, ${100 - this.divider.value} % ${names[1]}`;
  }

  setDivider(value) {
    this.divider.value = value;
    if (this.names) this.divider.setAttribute("aria-valuetext", this.dividerText(this.names));
    this.draw();
  }

  /** Match the canvas to its size on the screen. */
  fit() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (width > 1 && (width !== this.canvas.width || height !== this.canvas.height)) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.draw();
  }

  /** Canvas pixels for a pixel of the slice. */
  get scale() {
    return (this.canvas.width / this.layers[0].width) * this.place.zoom;
  }

  draw() {
    if (!this.layers) return;
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d", { alpha: false });
    const { scale } = this;
    const left = width / 2 - this.place.x * scale;
    const top = height / 2 - this.place.y * scale;
    const split = Math.round((width * this.divider.value) / 100);
    this.figure.querySelector(".side.left").hidden = split === 0;
    this.figure.querySelector(".side.right").hidden = split === width;
    // Enlarged pixels stay sharp squares; shrunk ones are averaged.
    context.imageSmoothingEnabled = scale < 1;
    context.imageSmoothingQuality = "high";
    for (const [layer, start, end] of [[this.layers[0], 0, split], [this.layers[1], split, width]]) {
      if (end <= start) continue;
      context.save();
      context.beginPath();
      context.rect(start, 0, end - start, height);
      context.clip();
      context.fillRect(0, 0, width, height);
      context.drawImage(layer, left, top, layer.width * scale, layer.height * scale);
      context.restore();
    }
    if (split > 0 && split < width) this.line(context, [[split, 0], [split, height]]);
    if (this.place.cross) {
      const x = left + (this.place.cross.column + 0.5) * scale;
      const y = top + (this.place.cross.row + 0.5) * scale;
      const arm = 7 * (width / Math.max(1, this.canvas.clientWidth));
      this.line(context, [[x - arm, y], [x + arm, y]]);
      this.line(context, [[x, y - arm], [x, y + arm]]);
    }
  }

  /** A line that is seen on black and on white. */
  line(context, [from, to]) {
    for (const [colour, thickness] of [["#000", 4], ["#ffd24d", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness;
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
    }
  }

  /** The pixel of the slice under a pointer; null beside the slice. */
  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const x = this.place.x + ((event.clientX - box.left) * ratio - this.canvas.width / 2) / this.scale;
    const y = this.place.y + ((event.clientY - box.top) * ratio - this.canvas.height / 2) / this.scale;
    const point = { column: Math.floor(x), row: Math.floor(y) };
    const { width, height } = this.layers[0];
    return point.column >= 0 && point.column < width && point.row >= 0 && point.row < height ? point : null;
  }

  listen() {
    const { canvas } = this;
    this.divider.addEventListener("input", () => this.act.setDivider(this.divider.value, this));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      this.act.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, this.pixelAt(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  down(event) {
    const box = this.canvas.getBoundingClientRect();
    const distance = Math.abs(event.clientX - box.left - (box.width * this.divider.value) / 100);
    const drag = distance <= DIVIDER_REACH ? "divider" : "place";
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, drag });
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.layers) return;
    const before = this.pointers.get(event.pointerId);
    const box = this.canvas.getBoundingClientRect();
    if (before?.drag === "divider") {
      const share = (event.clientX - box.left) / box.width;
      this.act.setDivider(Math.round(100 * Math.min(1, Math.max(0, share))), this);
    } else if (before && this.place.zoom > 1) {
      const ratio = this.canvas.width / box.width / this.scale;
      this.act.panBy((before.x - event.clientX) * ratio, (before.y - event.clientY) * ratio);
    } else {
      this.act.setCross(this.pixelAt(event), false, this);
    }
    if (before) this.pointers.set(event.pointerId, { ...before, x: event.clientX, y: event.clientY });
  }

  key(event) {
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [-step, 0], ArrowDown: [step, 0] };
    if (event.altKey || event.ctrlKey || event.metaKey || !this.layers) return;
    if (event.key in moves) {
      const cross = this.place.cross ?? { row: Math.floor(this.place.y), column: Math.floor(this.place.x) };
      const { width, height } = this.layers[0];
      const [rows, columns] = moves[event.key];
      const row = Math.min(height - 1, Math.max(0, cross.row + rows));
      this.act.setCross({ row, column: Math.min(width - 1, Math.max(0, cross.column + columns)) }, true, this);
    } else if (event.key === "+" || event.key === "=") {
      this.act.zoomBy(1.25, this.place.cross);
    } else if (event.key === "-") {
      this.act.zoomBy(0.8, this.place.cross);
    } else if (event.key === "0") {
      this.act.reset();
    } else {
      return;
    }
    event.preventDefault();
  }
}
