// The class of every pixel: read from the answer's PNG, colored, drawn over the image.

/** @returns {Promise<{width: number, height: number, classes: Uint8Array}>} */
export async function readMap(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, classes: Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]) };
}

/** @returns {{index: number, share: number}[]} of the classes that there are, largest first. */
export function shares(map) {
  const counts = new Uint32Array(256);
  for (const index of map.classes) counts[index] += 1;
  return Array.from(counts, (count, index) => ({ index, share: count / map.classes.length }))
    .filter((each) => each.share > 0)
    .sort((a, b) => b.share - a.share);
}

/** As CSS: neighbors in number are far apart in hue, and differ in lightness. */
export function color(index) {
  return `oklch(${[0.66, 0.53, 0.79][index % 3]} 0.14 ${Math.round(index * 137.508 + 245) % 360})`;
}

/** @param {?number} only the one class to draw; all if null. */
export function draw(canvas, map, only) {
  canvas.width = map.width;
  canvas.height = map.height;
  const palette = paletteOf(only === null ? shares(map).map(({ index }) => index) : [only]);
  const pixels = Uint32Array.from(map.classes, (index) => palette[index]);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), map.width), 0, 0);
}

/** Of these classes the four bytes of their colors, as one number each; all others stay transparent. */
function paletteOf(indices) {
  const context = new OffscreenCanvas(256, 1).getContext("2d", { willReadFrequently: true });
  for (const index of indices) {
    context.fillStyle = color(index);
    context.fillRect(index, 0, 1, 1);
  }
  return new Uint32Array(context.getImageData(0, 0, 256, 1).data.buffer);
}
