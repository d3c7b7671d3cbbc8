"use strict";
// All panels together: what they show, the window, the place, and the HU under the cross.

const MAX_ZOOM = 16;

function setUpViewer(data) {
  const byId = (id) => document.getElementById(id);
  const place = { zoom: 1, x: 0, y: 0, cross: null };
  const images = new Map(); // of the slice shown: noisy, target and each method, decoded
  const painted = new Map(); // canvases of these in the current window
  let loading = 0;
  let waiting = false;
  let speech = 0;

  const act = {
    zoomBy(factor, at) {
      const zoom = Math.min(MAX_ZOOM, Math.max(1, place.zoom * factor));
      if (at) {
        // What is under the pointer stays there.
        const share = 1 - place.zoom / zoom;
        place.x += (at.column + 0.5 - place.x) * share;
        place.y += (at.row + 0.5 - place.y) * share;
      }
      place.zoom = Math.abs(zoom - 1) < 0.01 ? 1 : zoom;
      keepInside();
    },
    panBy(dx, dy) {
      place.x += dx;
      place.y += dy;
      keepInside();
    },
    setCross(point, spoken, panel) {
      place.cross = point;
      if (spoken && point) follow(point);
      showValues();
      if (spoken) speak(panel);
      redraw();
    },
    setDivider(value, panel) {
      for (const one of byId("view-together").checked ? panels : [panel]) one.setDivider(value);
    },
    reset() {
      const { columns, rows } = slice();
      Object.assign(place, { zoom: 1, x: columns / 2, y: rows / 2 });
      keepInside();
    },
  };
  const panels = [...document.querySelectorAll(".panel")].map((figure) => new Panel(figure, place, act));

  const slice = () => data.slices[byId("view-slice").value];
  const pair = () => byId("view-pair").value.split(" ");

  /** Move the view only so far that it stays on the slice. */
  function keepInside() {
    const { columns, rows } = slice();
    place.x = Math.min(columns - columns / place.zoom / 2, Math.max(columns / place.zoom / 2, place.x));
    place.y = Math.min(rows - rows / place.zoom / 2, Math.max(rows / place.zoom / 2, place.y));
    byId("zoom-value").textContent = `${Number(place.zoom.toFixed(1))}×`;
    for (const panel of panels) panel.canvas.style.touchAction = place.zoom > 1 ? "none" : "pan-y";
    redraw();
  }

  /** Bring a pixel that the keys reached into view. */
  function follow(point) {
    const { columns, rows } = slice();
    const reach = [columns / place.zoom / 2 - 1, rows / place.zoom / 2 - 1];
    place.x = Math.min(point.column + reach[0], Math.max(point.column + 1 - reach[0], place.x));
    place.y = Math.min(point.row + reach[1], Math.max(point.row + 1 - reach[1], place.y));
    keepInside();
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const panel of panels) panel.draw();
    });
  }

  /** Decode the pictures of the slice and the noise that are chosen. */
  async function load() {
    const turn = ++loading;
    const number = byId("view-slice").value;
    const noise = byId("view-noise")?.value ?? 0;
    const read = (id) => JSON.parse(byId(id).textContent);
    const pictures = { ...read(`hu-${number}-target`), ...read(`hu-${number}-${noise}`) };
    const decoded = await Promise.all(Object.entries(pictures).map(async ([name, one]) => [name, await decodeHu(one)]));
    if (turn !== loading) return; // another slice was chosen meanwhile
    images.clear();
    for (const [name, image] of decoded) images.set(name, image);
    const inexact = decoded.some(([, image]) => !image.exact);
    byId("view-warning").hidden = !inexact;
    byId("view-warning").textContent = inexact
      ? "This browser changes pixels that a page reads back, against tracking: HU values here are not exact." : "";
    place.cross = null;
    act.reset();
    repaint();
    byId("viewer").dataset.ready = `${number}-${noise}`;
  }

  /** Colour all pictures anew, for another window or pair. */
  function repaint() {
    painted.clear();
    const grey = greyTable(windowCentre(), windowWidth(), data.huLow);
    const limit = Math.max(1, Number(byId("view-limit").value) || Number(data.differenceLimit));
    const colours = differenceTable(limit, data.diverging);
    const layer = (kind, method) => {
      const name = kind === "denoised" || kind === "difference" ? method : kind;
      const key = kind === "difference" ? `difference ${name}` : name;
      if (!images.has(name)) return null;
      if (!painted.has(key)) {
        const canvas = document.createElement("canvas");
        if (kind === "difference") paint(canvas, images.get(name), colours, data.noValue, images.get("target"));
        else paint(canvas, images.get(name), grey, data.noValue);
        painted.set(key, canvas);
      }
      return painted.get(key);
    };
    const kinds = pair();
    const names = kinds.map((kind) => data.labels[kind] ?? kind);
    for (const panel of panels) {
      const layers = kinds.map((kind) => layer(kind, panel.method));
      panel.setLayers(images.has(panel.method) && !layers.includes(null) ? layers : null, names);
    }
    showScale(kinds.includes("difference"), limit);
    showValues();
  }

  const windowCentre = () => Number(byId("view-centre").value) || 0;
  const windowWidth = () => Math.max(1, Number(byId("view-width").value) || 1);

  function showScale(shown, limit) {
    byId("scale").hidden = !shown;
    byId("scale-low").textContent = `−${limit}`;
    byId("scale-high").textContent = `+${limit} HU`;
    const context = byId("scale-bar").getContext("2d");
    data.diverging.forEach((colour, i) => {
      context.fillStyle = colour;
      context.fillRect(i, 0, 1, 12);
    });
  }

  /** The values at the cross, in words; an empty text where there is no cross. */
  function valuesAt(method) {
    const { cross } = place;
    const image = images.get(method);
    if (!cross || !image) return "";
    const i = cross.row * image.width + cross.column;
    const code = (name) => images.get(name)?.codes[i];
    const text = (name) => (images.has(name) ? huText(code(name), data.huLow, data.noValue) : "—");
    const parts = [`noisy ${text("noisy")}`, `denoised ${text(method)}`, `${data.labels.target} ${text("target")}`];
    if (pair().includes("difference") && code(method) !== data.noValue && code("target") !== data.noValue) {
      parts.push(`difference ${String(code(method) - code("target")).replace("-", "−")}`);
    }
    return `${parts.join(" · ")} HU`;
  }

  function showValues() {
    for (const panel of panels) panel.figure.querySelector(".values").textContent = valuesAt(panel.method) || "\u00a0";
  }

  /** Tell a screen reader the values that the keys moved to, once they rest. */
  function speak(panel) {
    clearTimeout(speech);
    speech = setTimeout(() => {
      if (!place.cross) return;
      const { row, column } = slice();
      const where = `Row ${row + place.cross.row}, column ${column + place.cross.column}`;
      byId("hu-readout").textContent = `${where}, ${panel.figure.querySelector(".name").textContent}: ${valuesAt(panel.method)}`;
    }, 250);
  }

  function windowChanged() {
    for (const button of document.querySelectorAll(".preset")) {
      const same = Number(button.dataset.centre) === windowCentre() && Number(button.dataset.width) === windowWidth();
      button.setAttribute("aria-pressed", String(same));
    }
    repaint();
  }

  for (const button of document.querySelectorAll(".preset")) {
    button.addEventListener("click", () => {
      byId("view-centre").value = button.dataset.centre;
      byId("view-width").value = button.dataset.width;
      windowChanged();
    });
  }
  for (const id of ["view-centre", "view-width"]) byId(id).addEventListener("input", windowChanged);
  byId("view-limit").addEventListener("input", repaint);
  for (const id of ["view-slice", "view-noise"]) byId(id)?.addEventListener("change", load);
  byId("view-pair").addEventListener("change", () => {
    // The difference is worth a look as a whole first.
    if (pair()[1] === "difference") for (const panel of panels) panel.setDivider(0);
    else if (panels.every((panel) => panel.divider.value === "0")) for (const panel of panels) panel.setDivider(50);
    repaint();
  });
  byId("zoom-in").addEventListener("click", () => act.zoomBy(1.5, place.cross));
  byId("zoom-out").addEventListener("click", () => act.zoomBy(1 / 1.5, place.cross));
  byId("zoom-reset").addEventListener("click", act.reset);
  load();
}

const viewerData = document.getElementById("viewer-data");
if (viewerData) setUpViewer(JSON.parse(viewerData.textContent));
