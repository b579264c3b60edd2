/* Shows a picture to the model that is chosen: its labels by TF Serving's call, where it looked by /page/occlusion. */
"use strict";

const SERVED_TYPES = ["image/jpeg", "image/png", "image/gif", "image/bmp"]; // that the server decodes
const LARGEST_SIDES = [2048, 1024, 512, 256]; // in pixels, of pictures that must become smaller; the first that fits
const LARGEST_AREA = 89e6; // in pixels, that the server decodes
const SMALL = 128; // pixels; smaller pictures are shown as squares
const LOWERS = [213, 94, 0]; // vermilion and blue, told apart with every kind of colour vision
const RAISES = [0, 114, 178];
const OPAQUE = 204; // of 255, where the score changes most
const FAINT = 0.01; // changes below it are not stretched to the whole scale
const POLL_MS = 2000;

const find = (id) => document.getElementById(id);
const state = {
  maxRequest: Infinity, // bytes
  picture: null, // {blob, name, note, small}
  scores: [], // of the picture: {label, id, score}
  classId: null, // whose map is shown
  maps: null, // the answer of /page/occlusion
  turn: new AbortController(), // ended by a new picture or another model
};

/* ---- the server ---- */

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { signal: state.turn.signal, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is keras-vit serve still running?");
  }
  const answer = await response.json().catch(() => ({ error: "its answer cannot be read." }));
  if (!response.ok || answer.error) throw new Error(`The server says: ${answer.error || response.statusText}`);
  return answer;
}

function chosen() {
  const option = find("model").selectedOptions[0];
  return option && option.value ? JSON.parse(option.value) : null;
}

async function keepUp() {
  try {
    const told = await ask("page/models", { signal: AbortSignal.timeout(10 * POLL_MS) });
    state.maxRequest = told.max_request_bytes;
    offer(told.models.flatMap(({ model, versions }) => versions.map((version) => ({ model, version }))));
    if (find("news").dataset.lost) say("news", "The server answers again.");
    delete find("news").dataset.lost;
  } catch (error) {
    find("news").dataset.lost = "yes";
    say("news", error.message);
  }
}

/* Versions come and go; the one that is chosen stays so for as long as it is served. */
function offer(served) {
  const select = find("model");
  const values = served.map((one) => JSON.stringify(one));
  const before = [...select.options].filter((option) => option.value.startsWith("{")).map((option) => option.value);
  if (values.join() === before.join()) return;
  const old = chosen();
  const kept = Math.max(values.indexOf(select.value), -1);
  const newest = served.findIndex(({ model }) => old && model === old.model);
  select.replaceChildren(...served.map(({ model, version }, i) => new Option(`${model}, version ${version}`, values[i])));
  select.disabled = !served.length;
  if (!served.length) {
    select.add(new Option("none is served", ""));
  } else {
    select.selectedIndex = Math.max(kept >= 0 ? kept : newest, 0);
  }
  const added = served.filter((_, i) => before.length && !before.includes(values[i]));
  const news = added.map(({ model, version }) => `Version ${version} of ${model} is served now.`);
  if (old && kept < 0) news.push(`Version ${old.version} of ${old.model} is served no more.`);
  if (news.length) say("news", news.join(" "));
  if (old === null || kept < 0) classify();
}

/* ---- the picture ---- */

async function take(file) {
  if (!file) return;
  restart();
  const { turn } = state;
  try {
    const url = URL.createObjectURL(file);
    const image = await opened(url, file.name);
    const picture = await fitted(image, file);
    if (turn.signal.aborted) return;
    state.picture = picture;
    show(image, url);
    classify();
  } catch (error) {
    if (turn.signal.aborted) return;
    state.picture = null;
    hide();
    fail(error);
  }
}

async function opened(url, name) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`“${name}” is not a picture that can be read. JPEG and PNG files are.`);
  }
  return image;
}

/* The file as it is where the server reads it; else drawn anew, as small as it must be. */
async function fitted(image, file) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const picture = { name: file.name, small: Math.max(width, height) <= SMALL, note: `${width} × ${height} pixels` };
  if (SERVED_TYPES.includes(file.type) && fits(file) && width * height <= LARGEST_AREA) {
    return { ...picture, blob: file };
  }
  for (const side of LARGEST_SIDES) {
    const scale = Math.min(1, side / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(Math.round(width * scale), 1);
    canvas.height = Math.max(Math.round(height * scale), 1);
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // behind what is transparent
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    if (blob && fits(blob)) {
      const scaled = scale < 1 ? `, sent as ${canvas.width} × ${canvas.height}` : "";
      return { ...picture, blob, note: picture.note + scaled };
    }
  }
  throw new Error(`“${file.name}” is too large for this server, which reads ${state.maxRequest} bytes at most.`);
}

function fits(blob) {
  return (blob.size * 4) / 3 + 1000 <= state.maxRequest; // in base64, and what stands around it
}

function show(image, url) {
  const preview = find("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = url;
  preview.classList.toggle("small", state.picture.small);
  preview.style.setProperty("--aspect", `${image.naturalWidth} / ${image.naturalHeight}`);
  find("shown").hidden = false;
  find("place").hidden = true;
  find("picture").classList.add("filled");
  say("choose", "Choose another picture");
  describe();
}

function hide() {
  find("shown").hidden = true;
  find("place").hidden = false;
  find("picture").classList.remove("filled");
  say("choose", "Choose a picture");
}

function describe() {
  const map = find("map");
  const size = state.maps && state.maps.size;
  const note = map.hidden ? state.picture.note : `as the model gets it: ${size[1]} × ${size[0]} pixels`;
  say("caption", `${state.picture.name || "Pasted picture"} (${note})`);
}

/* ---- its labels ---- */

async function classify() {
  if (!state.picture) return;
  restart();
  const asked = chosen();
  if (!asked) {
    fail(new Error("No model is served any more."));
    return;
  }
  const path = `v1/models/${encodeURIComponent(asked.model)}/versions/${asked.version}:predict`;
  say("status", `Asking ${asked.model}, version ${asked.version} …`);
  find("answer").classList.add("busy");
  try {
    const begun = performance.now();
    const body = JSON.stringify({ instances: [{ b64: await base64(state.picture.blob) }] });
    const [best] = (await ask(path, { method: "POST", body })).predictions;
    if (!best.class_ids || best.class_ids[0] < 0) {
      throw new Error(`The server cannot decode “${state.picture.name}”; the file may be damaged.`);
    }
    state.scores = best.class_ids.map((id, i) => ({ id, label: best.classes[i], score: best.scores[i] }));
    list();
    const took = Math.max(Math.round(performance.now() - begun), 1);
    const [{ label, score }] = state.scores;
    say("status", `“${label}”, ${percent(score)}, says version ${asked.version} of ${asked.model} after ${took} ms.`);
    find("inside").hidden = false;
    say("code", `POST ${new URL(path, location)}`);
  } catch (error) {
    fail(error);
  }
  if (!state.turn.signal.aborted) find("answer").classList.remove("busy");
}

async function base64(blob) {
  const reader = new FileReader();
  await new Promise((done, failed) => {
    reader.onload = done;
    reader.onerror = () => failed(new Error("The file cannot be read any more; choose it again."));
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

function list() {
  const row = ({ id, label, score }) => {
    const button = element("button", { type: "button", title: "Show where the model looked for it" });
    const bar = element("span", { className: "bar", ariaHidden: "true" });
    bar.append(element("i"));
    bar.firstChild.style.width = `${100 * score}%`;
    button.append(
      element("span", { className: "label", textContent: label }),
      element("span", { className: "score", textContent: percent(score) }),
      bar,
    );
    button.dataset.id = id;
    button.addEventListener("click", () => look(state.classId === id ? null : id));
    const item = element("li");
    item.append(button);
    return item;
  };
  find("scores").replaceChildren(...state.scores.map(row));
  press();
}

function percent(score) {
  return score > 0 && score < 0.001 ? "< 0.1 %" : `${(100 * score).toFixed(1)} %`;
}

/* ---- where the model looked ---- */

/* Shows the map of a class, or none for null. All classes' maps come with one answer. */
async function look(classId) {
  state.classId = classId;
  press();
  if (classId !== null && state.maps === null) {
    const { model, version } = chosen();
    const query = new URLSearchParams({ model, version });
    state.scores.forEach(({ id }) => query.append("class", id));
    say("looking", "Hiding one place of the picture after the other …");
    try {
      const maps = await ask(`page/occlusion?${query}`, { method: "POST", body: state.picture.blob });
      const bytes = Uint8Array.from(atob(maps.image), (letter) => letter.charCodeAt(0));
      maps.picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      state.maps = maps;
    } catch (error) {
      state.classId = null;
      fail(error);
    }
    if (!state.turn.signal.aborted) say("looking", "");
  }
  draw();
}

function press() {
  find("look").setAttribute("aria-pressed", state.classId !== null);
  for (const button of find("scores").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.id) === state.classId);
  }
}

function draw() {
  press();
  const one = state.maps && state.maps.classes.find(({ class_id }) => class_id === state.classId);
  find("map").hidden = find("legend").hidden = !one;
  find("preview").hidden = Boolean(one);
  if (one) {
    const { label } = state.scores.find(({ id }) => id === one.class_id);
    const all = one.drops.flat();
    const [most, least] = [Math.max(...all, 0), Math.max(...all.map((drop) => -drop), 0)];
    const full = Math.max(most, least, FAINT);
    paint(one.drops, full);
    say("most", full.toFixed(2));
    say("least", full.toFixed(2));
    say("meaning", meaning(one, label, most, least));
    find("map").setAttribute("aria-label", find("meaning").textContent);
  }
  if (state.picture) describe();
}

/* The picture in grey, so that the colours are the map's alone, and the drops over it. */
function paint(drops, full) {
  const { picture, size, stride } = state.maps;
  const [rows, columns] = [drops.length, drops[0].length];
  const cells = new ImageData(columns, rows);
  drops.flat().forEach((drop, i) => {
    const alpha = Math.round((OPAQUE * Math.abs(drop)) / full);
    cells.data.set([...(drop > 0 ? LOWERS : RAISES), alpha], 4 * i);
  });
  const map = element("canvas", { width: columns, height: rows });
  map.getContext("2d").putImageData(cells, 0, 0);
  const scale = Math.ceil(640 / Math.max(...size));
  const canvas = find("map");
  canvas.width = size[1] * scale;
  canvas.height = size[0] * scale;
  canvas.style.setProperty("--aspect", `${size[1]} / ${size[0]}`);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = Math.max(...size) > SMALL;
  context.filter = "grayscale(1)";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.filter = "none";
  context.imageSmoothingEnabled = true;
  context.drawImage(map, 0, 0, columns * stride * scale, rows * stride * scale); // the last cells may reach beyond
}

function meaning({ drops, score }, label, most, least) {
  const { patch, size } = state.maps;
  const how = `A square of ${patch} pixels in the picture’s mean colour was moved over its ${size[1]} × ${size[0]} pixels.`;
  const about = `the score of “${label}” (${score.toFixed(2)})`;
  if (Math.max(most, least) < FAINT) return `Hiding any one place changes ${about} by less than ${FAINT}. ${how}`;
  const lowers = `Hiding an orange place lowers ${about}, by up to ${most.toFixed(2)} ${where(drops, most)}`;
  const raises = `hiding a blue one raises it, by up to ${least.toFixed(2)}`;
  if (least < FAINT) return `${lowers}. ${how}`;
  return most < FAINT ? `Hiding a blue place raises ${about}, by up to ${least.toFixed(2)}. ${how}` : `${lowers}; ${raises}. ${how}`;
}

/* In which of nine parts of the picture a drop is found. */
function where(drops, drop) {
  const row = drops.findIndex((cells) => cells.includes(drop));
  const column = drops[row].indexOf(drop);
  const third = (place, of, names) => names[Math.min(Math.floor((3 * (place + 0.5)) / of), 2)];
  const vertical = third(row, drops.length, ["at the top", "", "at the bottom"]);
  const horizontal = third(column, drops[0].length, ["left", "", "right"]);
  return [vertical, horizontal && (vertical ? horizontal : `at the ${horizontal}`)].filter(Boolean).join(" ") || "in the middle";
}

/* ---- words and elements ---- */

function say(id, text) {
  const place = id === "code" ? find("call").querySelector("code") : find(id);
  place.textContent = text;
  if (id === "code") find("call").hidden = false;
}

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

/* Ends what is being asked, and takes its answers off the page. */
function restart() {
  state.turn.abort();
  state.turn = new AbortController();
  Object.assign(state, { scores: [], classId: null, maps: null });
  find("scores").replaceChildren();
  find("inside").hidden = find("call").hidden = true;
  find("answer").classList.remove("busy");
  ["error", "status", "looking"].forEach((id) => say(id, ""));
  draw();
}

function fail(error) {
  if (error.name === "AbortError") return;
  say("status", "");
  say("looking", "");
  say("error", error.message);
}

/* ---- events ---- */

find("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
find("model").addEventListener("change", classify);
find("look").addEventListener("click", () => look(state.classId === null ? state.scores[0].id : null));
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("picture").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) find("picture").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("picture").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("visibilitychange", () => document.hidden || keepUp());
setInterval(() => document.hidden || keepUp(), POLL_MS);
keepUp();
