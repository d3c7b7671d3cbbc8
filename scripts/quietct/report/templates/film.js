"use strict";
// Training films: single pictures that change only when asked.

function setUpFilm(figure) {
  const { box, frameMs, patches } = JSON.parse(document.getElementById(figure.dataset.film).textContent);
  const still = figure.querySelector("img");
  const button = figure.querySelector(".play");
  const slider = figure.querySelector("input");
  const number = figure.querySelector(".frame-number");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const canvas = document.createElement("canvas");
  let frames = null;
  let timer = 0;

  /** Decode all frames and put a canvas in the still's place, at the first use. */
  async function prepare() {
    frames ??= Promise.all(patches.map((uri) => decodePicture(uri)));
    const pictures = await frames;
    if (!canvas.isConnected) {
      canvas.width = still.naturalWidth;
      canvas.height = still.naturalHeight;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", still.alt);
      still.hidden = true;
      still.after(canvas);
    }
    return pictures;
  }

  async function show() {
    const pictures = await prepare();
    const context = canvas.getContext("2d");
    context.drawImage(still, 0, 0);
    context.drawImage(pictures[slider.value - 1], ...box);
    number.textContent = `${slider.value} of ${patches.length}`;
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("Pause", "Play"));
  }

  async function play() {
    button.textContent = "Pause";
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("Play", "Pause"));
    if (Number(slider.value) === patches.length) slider.value = 1;
    timer = setInterval(() => {
      if (Number(slider.value) === patches.length) return stop();
      slider.value = Number(slider.value) + 1;
      show();
    }, calm.matches ? Math.max(1000, frameMs) : frameMs);
    await show();
  }

  button.addEventListener("click", () => (timer ? stop() : play()));
  slider.addEventListener("input", () => {
    stop();
    show();
  });
}

/** Load a picture that is inside the page. */
async function decodePicture(uri) {
  const picture = new Image();
  picture.src = uri;
  await picture.decode();
  return picture;
}

for (const figure of document.querySelectorAll("[data-film]")) setUpFilm(figure);
