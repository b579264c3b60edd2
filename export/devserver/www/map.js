/* Draws an occlusion map over the image, and describes it in sentences. A drop is the fall of a score in [0, 1], or of a
   cosine. */

const LOWERS = [213, 94, 0]; // vermilion and blue: distinguishable with every kind of colour vision
const RAISES = [0, 114, 178];
const OPAQUE = 217; // of 255, where the score changes most
const VEIL = "rgb(128 128 128 / 0.45)"; // over the image, so that the colours stand out from black and white
const FAINT = 0.01; // smaller changes are not stretched to the whole scale
export const SHARP = 128; // pixels; smaller images are drawn with visible pixels
const SIDE = 640; // pixels of the canvas, at least

/* The change at full colour. */
export function scale(drops) {
  return Math.max(...drops.flat().map(Math.abs), FAINT);
}

/* Draws the image in grey, so that only the map has colours, and the drops over it. */
export function draw(canvas, { bitmap, size: [height, width], stride }, drops) {
  const zoom = Math.ceil(SIDE / Math.max(height, width));
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  canvas.style.setProperty("--aspect", width / height);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = Math.max(height, width) > SHARP;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  fill(context, "saturation", "grey");
  fill(context, "source-over", VEIL);
  const map = colours(drops);
  const cell = stride * zoom;
  context.imageSmoothingEnabled = true;
  context.drawImage(map, 0, 0, map.width * cell, map.height * cell); // the last cells may extend beyond the image
}

function fill(context, operation, colour) {
  context.globalCompositeOperation = operation;
  context.fillStyle = colour;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
}

/* A canvas of one pixel per cell, more opaque for a larger change of the score. */
function colours(drops) {
  const map = document.createElement("canvas");
  map.width = drops[0].length;
  map.height = drops.length;
  const cells = new ImageData(map.width, map.height);
  const full = scale(drops);
  drops.flat().forEach((drop, i) => {
    const alpha = Math.round((OPAQUE * Math.abs(drop)) / full);
    cells.data.set([...(drop > 0 ? LOWERS : RAISES), alpha], 4 * i);
  });
  map.getContext("2d").putImageData(cells, 0, 0);
  return map;
}

/* How scores are shown: of labels, and of stored images, whose scores are cosines. */
export const LABELS = {
  measure: "score of",
  name: (label) => `“${label}”`,
  shown: percent,
  change: (drop) => `${points(drop)} points`,
  step: "a point",
  lowest: 0,
};
export const IMAGES = {
  measure: "cosine with",
  name: (label) => `the cosine with “${label}”`,
  shown: cosine,
  change: cosine,
  step: "0.01",
  lowest: -1,
};

/* Sentences about the map. */
export function describe({ drops, score }, label, patch, { name, shown, lowest, step } = LABELS) {
  const all = drops.flat();
  const [most, least] = [Math.max(...all), Math.min(...all)];
  const parts = [];
  if (most >= FAINT) {
    const fallen = shown(Math.max(score - most, lowest));
    parts.push(`Orange: with a region hidden ${where(drops, most)}, ${name(label)} falls from ${shown(score)} to ${fallen}.`);
  }
  if (least <= -FAINT) {
    const risen = shown(Math.min(score - least, 1));
    const rises = parts.length ? "it rises" : `${name(label)} rises from ${shown(score)}`;
    parts.push(`Blue: with one hidden ${where(drops, least)}, ${rises} to ${risen}.`);
  }
  if (!parts.length) parts.push(`No region changes the ${shown(score)} of “${label}” by more than ${step}.`);
  return `${parts.join(" ")} Regions are hidden by a square of ${patch} pixels in the image’s mean colour.`;
}

/* In which ninth of the image a drop is. */
function where(drops, drop) {
  const row = drops.findIndex((cells) => cells.includes(drop));
  const column = drops[row].indexOf(drop);
  const third = (place, of, names) => names[Math.min(Math.floor((3 * (place + 0.5)) / of), 2)];
  const vertical = third(row, drops.length, ["top", "", "bottom"]);
  const horizontal = third(column, drops[0].length, ["left", "", "right"]);
  return vertical || horizontal ? `at the ${[vertical, horizontal].filter(Boolean).join(" ")}` : "in the middle";
}

export function percent(score) {
  return score > 0 && score < 0.001 ? "< 0.1\u00a0%" : `${(100 * score).toFixed(1)}\u00a0%`;
}

export function cosine(value) {
  return value.toFixed(3);
}

function points(change) {
  return change < 0.1 ? (100 * change).toFixed(1) : Math.round(100 * change);
}
