/* From an image file to the pixels that the model takes, by the steps of preprocessing.json, as keras_vit takes them.

A canvas resizes in its own way, which differs between browsers. Here the image is drawn at its full size, and
resized as Pillow does: one axis after the other, with a filter that is widened for shrinking, rounded to whole numbers
after each. Letters: H W of the model, H0 W0 of the image. */

export const MAX_PIXELS = Math.floor(2 ** 30 / 12);
const LARGE = 2 ** 22; // pixels between the two passes, for which memory counts more than Pillow's order
const STRIP = 2 ** 22; // pixels that are read at once: a canvas of a large image would take four bytes for each
const OPAQUE = 255;
const AS_STORED = { premultiplyAlpha: "none", colorSpaceConversion: "none" }; // upright by default
const FILTERS = {
  bilinear: { reach: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: { reach: 2, weight: cubic },
};

/* An image file (a Blob) -> Uint8ClampedArray, H W 3: upright, without transparency. */
export async function prepare(file, spec) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, AS_STORED);
  } catch {
    throw new Error("is not an image that this browser can read. Use JPEG, PNG or WebP.");
  }
  try {
    const { height, width } = bitmap;
    if (height * width > MAX_PIXELS) {
      const most = Math.floor(MAX_PIXELS / 1e6);
      throw new Error(`has ${width} × ${height} pixels; at most ${most} million are read. Save it smaller.`);
    }
    return resize(reader(bitmap), height, width, spec);
  } finally {
    bitmap.close();
  }
}

/* Resizes and crops.

`read(x, y, width, height)` gives that part of the image in RGBA. Only what the crop is made of is asked for. */
export function resize(read, H0, W0, spec) {
  const before = [H0, W0];
  const after = resizedSides(H0, W0, spec);
  const [H, W] = spec.size;
  const tall = spec.crop_mode === "squash" && H0 * W > Math.max(LARGE, H * W0);
  const [first, second] = tall ? [0, 1] : [1, 0]; // the width comes first, as in Pillow before version 13
  const taps = [0, 1].map((axis) => tapsOf(before[axis], after[axis], spec.size[axis], spec));
  const [lines, across] = [first, second].map((axis) => span(taps[axis]));
  const narrow = spec.size[first];
  const between = new Uint8ClampedArray((across.end - across.start) * narrow * 3);
  const strip = Math.max(Math.floor(STRIP / (lines.end - lines.start)), 1);
  for (let start = across.start; start < across.end; start += strip) {
    const end = Math.min(start + strip, across.end);
    const [long, high] = [lines.end - lines.start, end - start];
    const source = tall
      ? { data: read(start, lines.start, high, long), line: 4, tap: 4 * high }
      : { data: read(lines.start, start, long, high), line: 4 * long, tap: 4 };
    const result = { data: between.subarray((start - across.start) * narrow * 3), line: 3 * narrow, tap: 3 };
    weigh(source, high, taps[first], lines.start, result);
  }
  const prepared = new Uint8ClampedArray(H * W * 3);
  const result = { data: prepared, line: tall ? 3 * W : 3, tap: tall ? 3 : 3 * W };
  weigh({ data: between, line: 3, tap: 3 * narrow }, narrow, taps[second], across.start, result);
  return prepared;
}

/* Height and width after resizing, before cropping, rounded as torchvision and timm do. */
function resizedSides(H0, W0, { size, crop_pct, crop_mode }) {
  const [h, w] = size.map((side) => Math.floor(side / crop_pct));
  if (crop_mode === "squash") return [h, w];
  if (h === w) {
    const short = Math.min(H0, W0);
    return [Math.floor((h * H0) / short), Math.floor((w * W0) / short)];
  }
  const ratio = Math.min(H0 / h, W0 / w);
  return [halfToEven(H0 / ratio), halfToEven(W0 / ratio)];
}

/* For each of the `crop` central pixels of a side that is resized: {start, weights} of the pixels it is made of. */
function tapsOf(before, after, crop, { interpolation, crop_rounding }) {
  const { reach, weight } = FILTERS[interpolation];
  const margin = (after - crop) / 2;
  const first = crop_rounding === "down" ? Math.floor(margin) : halfToEven(margin);
  const scale = before / after; // a pixel of the result, in pixels of the image
  const wide = Math.max(scale, 1);
  return Array.from({ length: crop }, (_, place) => {
    const centre = (first + place + 0.5) * scale - 0.5;
    const start = Math.max(Math.ceil(centre - reach * wide), 0);
    const end = Math.min(Math.floor(centre + reach * wide) + 1, before);
    const found = Array.from({ length: end - start }, (_, tap) => weight((start + tap - centre) / wide));
    const sum = found.reduce((total, one) => total + one, 0);
    return { start, weights: Float64Array.from(found, (one) => one / sum) };
  });
}

/* The pixels [start, end) that any of the taps has. */
function span(taps) {
  return {
    start: Math.min(...taps.map(({ start }) => start)),
    end: Math.max(...taps.map(({ start, weights }) => start + weights.length)),
  };
}

/* Weighs the pixels of each of `count` lines; `line` and `tap` are the steps to the next line and along it.

A Uint8ClampedArray rounds to the nearest whole number in [0, 255], and halves to even. */
function weigh(source, count, taps, offset, result) {
  const { data, tap } = source;
  for (let line = 0; line < count; line += 1) {
    let to = line * result.line;
    for (const { start, weights } of taps) {
      let from = line * source.line + (start - offset) * tap;
      let [red, green, blue] = [0, 0, 0];
      for (let k = 0; k < weights.length; k += 1) {
        red += weights[k] * data[from];
        green += weights[k] * data[from + 1];
        blue += weights[k] * data[from + 2];
        from += tap;
      }
      result.data[to] = red;
      result.data[to + 1] = green;
      result.data[to + 2] = blue;
      to += result.tap;
    }
  }
}

/* Keys' cubic filter with a = -0.5. */
function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

function halfToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below;
}

/* ---- pixels of a bitmap ---- */

/* A function from (x, y, width, height) to RGBA.

A canvas multiplies colours by their opacity, and what is transparent loses them. keras_vit drops transparency, which
shows the colours underneath; such images are therefore read through a texture, which keeps them. */
function reader(bitmap) {
  const drawn = canvasReader(bitmap);
  let exact = null;
  return (x, y, width, height) => {
    if (!exact) {
      const data = drawn(x, y, width, height);
      if (!isTransparent(data)) return data;
      exact = textureReader(bitmap);
    }
    return exact(x, y, width, height);
  };
}

function isTransparent(data) {
  for (let alpha = 3; alpha < data.length; alpha += 4) if (data[alpha] < OPAQUE) return true;
  return false;
}

function canvasReader(bitmap) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return (x, y, width, height) => {
    if (canvas.width < width || canvas.height < height) Object.assign(canvas, { width, height });
    context.globalCompositeOperation = "copy";
    context.drawImage(bitmap, x, y, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
}

let graphics = null; // a WebGL context with a texture, of which browsers allow a few; null until one is needed

function textureReader(bitmap) {
  if (!graphics || graphics.gl.isContextLost()) graphics = openGraphics();
  return (x, y, width, height) => {
    const data = graphics && readTexture(graphics, bitmap, [x, y, width, height]);
    if (data) return data;
    throw new Error("has transparent parts, which this browser cannot read exactly. Save it without transparency.");
  };
}

function openGraphics() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return null;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  return { gl, texture };
}

/* A part of a bitmap in RGBA; null where it fails, as for a part that is larger than textures may be. */
function readTexture({ gl, texture }, bitmap, [x, y, width, height]) {
  gl.pixelStorei(gl.UNPACK_SKIP_PIXELS, x);
  gl.pixelStorei(gl.UNPACK_SKIP_ROWS, y);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const data = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  return gl.getError() === gl.NO_ERROR && !gl.isContextLost() ? data : null;
}
