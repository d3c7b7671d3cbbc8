"use strict";
// Hounsfield units out of pictures, and pictures out of Hounsfield units.

/**
 * Read the codes of a slice: 0 to 4095 for HU from huLow on, noValue for pixels that could not be computed.
 * `exact` is false where the browser changes what a page reads back, as some do against tracking.
 */
async function decodeHu({ uri, check }) {
  const picture = await decodePicture(uri);
  const { naturalWidth: width, naturalHeight: height } = picture;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false, colorSpace: "srgb", willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const bytes = context.getImageData(0, 0, width, height).data;
  const codes = new Uint16Array(width * height);
  let sum = 0;
  for (let i = 0; i < codes.length; i++) {
    codes[i] = (bytes[4 * i] << 8) | bytes[4 * i + 1];
    sum += codes[i] * ((i & 1023) + 1);
  }
  return { width, height, codes, exact: sum === check };
}

/** Pack a colour for a Uint32Array over image data. */
function pack(red, green, blue) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Grey of each code for a window, as a table. */
function greyTable(centre, width, huLow) {
  const table = new Uint32Array(4096);
  const low = centre - width / 2;
  for (let code = 0; code < 4096; code++) {
    const grey = Math.round(255 * Math.min(1, Math.max(0, (code + huLow - low) / width)));
    table[code] = pack(grey, grey, grey);
  }
  return table;
}

/** Colour of each difference from -4095 to 4095 HU, as a table whose middle is zero. */
function differenceTable(limit, colours) {
  const table = new Uint32Array(8191);
  for (let d = -4095; d <= 4095; d++) {
    const place = Math.round(((Math.min(limit, Math.max(-limit, d)) + limit) / (2 * limit)) * 255);
    const value = parseInt(colours[place].slice(1), 16);
    table[d + 4095] = pack(value >> 16, (value >> 8) & 255, value & 255);
  }
  return table;
}

/** Draw a slice, or its difference to another, onto a canvas of its own size. Pixels without a value are hatched. */
function paint(canvas, image, table, noValue, other = null) {
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { alpha: false });
  const data = context.createImageData(image.width, image.height);
  const pixels = new Uint32Array(data.data.buffer);
  const hatch = [pack(90, 60, 110), pack(150, 120, 170)];
  for (let i = 0; i < pixels.length; i++) {
    const code = image.codes[i];
    if (code === noValue || (other && other.codes[i] === noValue)) {
      pixels[i] = hatch[((i % image.width) + Math.floor(i / image.width)) & 4 ? 1 : 0];
    } else {
      pixels[i] = other ? table[code - other.codes[i] + 4095] : table[code];
    }
  }
  context.putImageData(data, 0, 0);
}

/** Write a HU value with a true minus sign; the ends stand for all that lies beyond. */
function huText(code, huLow, noValue) {
  if (code === noValue) return "no value";
  const text = String(code + huLow).replace("-", "−");
  return code === 0 ? `≤ ${text}` : code === 4095 ? `≥ ${text}` : text;
}
