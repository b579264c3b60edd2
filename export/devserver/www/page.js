/* Classifies an image with the selected model by TF Serving's call, or shows its features and the nearest stored images
   by /page/features, and maps where it looked by /page/occlusion. */
import { IMAGES, LABELS, SHARP, describe, draw, percent, scale } from "./map.js";

const SERVED_TYPES = ["image/jpeg", "image/png", "image/gif", "image/bmp"]; // that the server decodes
const LARGEST_SIDES = [2048, 1024, 512, 256]; // in pixels, of images that must be scaled down; the first that fits
const LARGEST_AREA = 89e6; // in pixels, that the server decodes at most
const POLL_MS = 2000;

const find = (id) => document.getElementById(id);
const state = {
  maxRequest: Infinity, // bytes
  image: null, // {blob, name, note, small}
  scores: [], // of the image: {label, id, score}, of labels or stored images
  units: LABELS, // how these scores are shown
  classId: null, // whose map is shown
  requested: false, // the maps
  maps: null, // the response of /page/occlusion
  turn: new AbortController(), // aborted by a new image or another model
};

/* ---- the server ---- */

/* The JSON of a response. If `signal` aborts the request, the error is not shown. */
async function request(path, signal, body) {
  const response = await fetch(path, { method: body ? "POST" : "GET", body, signal }).catch(() => {
    throw new Error("The server does not respond. Is keras-vit serve still running?");
  });
  const value = await response.json().catch(() => ({ error: "its response cannot be parsed." }));
  if (!response.ok || value.error) throw new Error(`The server reports: ${value.error || response.statusText}`);
  return value;
}

function selected() {
  const option = find("model").selectedOptions[0];
  return option && option.value ? JSON.parse(option.value) : null;
}

async function poll() {
  try {
    const served = await request("page/models", AbortSignal.timeout(10 * POLL_MS));
    state.maxRequest = served.max_request_bytes;
    const each = ({ model, versions, features = [] }) =>
      versions.map((version) => ({ model, version, features: features.includes(version) }));
    offer(served.models.flatMap(each));
    if (find("news").dataset.lost) say("news", "The server responds again.");
    delete find("news").dataset.lost;
  } catch (error) {
    find("news").dataset.lost = "yes";
    say("news", error.message);
  }
}

/* Versions change while the page is open; the selected one stays selected as long as it is served. */
function offer(served) {
  const select = find("model");
  const values = served.map((one) => JSON.stringify(one));
  const before = [...select.options].map((one) => one.value).filter(Boolean);
  if (values.join() === before.join()) return;
  const old = selected();
  const kept = values.indexOf(select.value);
  const newest = served.findIndex(({ model }) => old && model === old.model);
  const option = ({ model, version }, i) => new Option(`${model}, version ${version}`, values[i]);
  select.replaceChildren(...served.map(option));
  select.disabled = !served.length;
  if (!served.length) select.add(new Option("none served", ""));
  select.selectedIndex = Math.max(kept, kept < 0 ? newest : 0, 0);
  const added = served.filter((_, i) => before.length && !before.includes(values[i]));
  const news = added.map(({ model, version }) => `Version ${version} of ${model} is now served.`);
  if (old && kept < 0) news.push(`Version ${old.version} of ${old.model} is no longer served.`);
  if (news.length) say("news", news.join(" "));
  title();
  if (old === null || kept < 0) classify();
}

/* ---- the image ---- */

async function take(file) {
  if (!file) return;
  restart();
  const { turn } = state;
  try {
    const url = URL.createObjectURL(file);
    const pixels = await opened(url, file.name);
    const image = await fitted(pixels, file);
    if (turn.signal.aborted) return;
    state.image = image;
    show(pixels, url);
    classify();
  } catch (error) {
    if (turn.signal.aborted) return;
    state.image = null;
    hide();
    fail(error);
  }
}

async function opened(url, name) {
  const pixels = new Image();
  pixels.src = url;
  try {
    await pixels.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`“${name}” is not an image that the browser can read; use JPEG or PNG.`);
  }
  return pixels;
}

/* The file itself if the server can read it; else a JPEG of it, scaled down as far as necessary. */
async function fitted(pixels, file) {
  const [width, height] = [pixels.naturalWidth, pixels.naturalHeight];
  const image = { name: file.name, small: Math.max(width, height) <= SHARP, note: `${width} × ${height} pixels` };
  if (SERVED_TYPES.includes(file.type) && fits(file) && width * height <= LARGEST_AREA) {
    return { ...image, blob: file };
  }
  for (const side of LARGEST_SIDES) {
    const scale = Math.min(1, side / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(Math.round(width * scale), 1);
    canvas.height = Math.max(Math.round(height * scale), 1);
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // behind transparent pixels
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(pixels, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    if (blob && fits(blob)) {
      const scaled = scale < 1 ? `, sent as ${canvas.width} × ${canvas.height}` : "";
      return { ...image, blob, note: image.note + scaled };
    }
  }
  throw new Error(`“${file.name}” is too large for this server, which accepts at most ${state.maxRequest} bytes.`);
}

function fits(blob) {
  return (blob.size * 4) / 3 + 1000 <= state.maxRequest; // in base64, with the JSON around it
}

function show(pixels, url) {
  const preview = find("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = url;
  preview.classList.toggle("small", state.image.small);
  preview.style.setProperty("--aspect", pixels.naturalWidth / pixels.naturalHeight);
  find("shown").hidden = false;
  find("place").hidden = true;
  find("image").classList.add("filled");
  say("choose", "Choose another image");
  caption();
}

function hide() {
  find("shown").hidden = true;
  find("place").hidden = false;
  find("image").classList.remove("filled");
  say("choose", "Choose an image");
}

function caption() {
  const map = find("map");
  const size = state.maps && state.maps.size;
  const note = map.hidden ? state.image.note : `as the model gets it: ${size[1]} × ${size[0]} pixels`;
  say("caption", `${state.image.name || "Pasted image"} (${note})`);
}

/* ---- its labels, or features ---- */

/* What the model of the list gives, in the headings. */
function title() {
  const features = Boolean(selected()?.features);
  state.units = features ? IMAGES : LABELS;
  say("heading", features ? "Nearest stored images" : "Labels");
  const what = features ? "an image of the list to see what it shares with yours" : "a label to see where the model looked for it";
  say("hint", `Choose ${what}.`);
}

async function classify() {
  title();
  if (!state.image) return;
  restart();
  const { turn } = state;
  const target = selected();
  if (!target) {
    fail(new Error("No model is served any longer."));
    return;
  }
  const path = `v1/models/${encodeURIComponent(target.model)}/versions/${target.version}:predict`;
  say("status", `Classifying with ${target.model}, version ${target.version} …`);
  find("labels").classList.add("busy");
  try {
    const begun = performance.now();
    const said = await (target.features ? compared(target, turn) : labelled(path, turn));
    if (turn.signal.aborted) return;
    list();
    const took = Math.max(Math.round(performance.now() - begun), 1);
    say("status", `${said}, by version ${target.version} of ${target.model} after ${took} ms.`);
    find("inside").hidden = find("hint").hidden = !state.scores.length;
    say("code", `POST ${new URL(path, location)}`);
  } catch (error) {
    if (turn.signal.aborted) return;
    fail(error);
  }
  find("labels").classList.remove("busy");
}

/* Takes the labels of the image from the server; returns them in words. */
async function labelled(path, turn) {
  const body = JSON.stringify({ instances: [{ b64: await base64(state.image.blob) }] });
  const [best] = (await request(path, turn.signal, body)).predictions;
  if (turn.signal.aborted) return "";
  if (!best.class_ids) throw new Error("This model does not return labels.");
  const several = "decoded" in best; // labels per image, or none
  if (several ? !best.decoded : best.class_ids[0] < 0) {
    throw new Error(`The server cannot decode “${state.image.name}”; the file may be damaged.`);
  }
  const all = best.class_ids.map((id, i) => ({ id, label: best.classes[i], score: best.scores[i] }));
  state.scores = all.filter(({ id }) => id >= 0); // of several labels, places are left over
  const unknown = best.unknown ? "Unknown: this image is not like those that the model was trained on. " : "";
  return `${unknown}${summary(state.scores, several)}`;
}

/* Takes the features of the image and the nearest stored images from the server; returns them in words. */
async function compared({ model, version }, turn) {
  const query = new URLSearchParams({ model, version });
  const found = await request(`page/features?${query}`, turn.signal, state.image.blob);
  if (turn.signal.aborted) return "";
  const file = (name) => name.split(/[\\/]/).pop();
  const source = (id) => `page/stored?${new URLSearchParams({ model, version, id })}`;
  state.scores = found.neighbours.map(({ id, name, score, image }) => ({
    id, score, label: file(name), title: name, image: image ? source(id) : null,
  }));
  const rows = found.features.flatMap(({ name, shape, first }) => [
    element("dt", { textContent: `${name} (${shape.join(" × ")})` }),
    element("dd", { textContent: `${first.join(", ")}, …` }),
  ]);
  find("features").replaceChildren(...rows);
  find("features").hidden = false;
  if (found.stored === null) {
    say("heading", "Features");
    return "Features; no vectors are stored beside the model";
  }
  return `The nearest of ${found.stored.toLocaleString("en")} stored images, and their cosine`;
}

/* The labels in words: the best one, or how many the image has. */
function summary([first, ...others], several) {
  if (!first) return "None of the labels";
  const best = `“${first.label}”, ${percent(first.score)}`;
  if (!several) return best;
  return others.length ? `${others.length + 1} labels` : `One label, ${best}`;
}

async function base64(blob) {
  const reader = new FileReader();
  await new Promise((done, failed) => {
    reader.onload = done;
    reader.onerror = () => failed(new Error("The file can no longer be read; choose it again."));
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

function list() {
  const row = ({ id, label, score, title = "Show where the model looked for this label", image }) => {
    const button = element("button", { type: "button", title });
    const bar = element("span", { className: "bar", ariaHidden: "true" });
    bar.append(element("i"));
    bar.firstChild.style.width = `${100 * Math.max(score, 0)}%`;
    if (image) button.append(element("img", { src: image, alt: "", width: 64, height: 64 }));
    button.classList.toggle("pictured", Boolean(image));
    button.append(
      element("span", { className: "label", textContent: label }),
      element("span", { className: "score", textContent: state.units.shown(score) }),
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

/* ---- where the model looked ---- */

/* Shows the map of a class, or no map for null. */
function look(classId) {
  state.classId = classId;
  if (classId !== null && !state.requested) requestMaps();
  showMap();
}

/* One response has the maps of all classes. */
async function requestMaps() {
  const { turn } = state;
  const { model, version } = selected();
  const query = new URLSearchParams({ model, version });
  state.scores.forEach(({ id }) => query.append("class", id));
  state.requested = true;
  say("looking", "Classifying the image with one region hidden after the other …");
  try {
    const maps = await request(`page/occlusion?${query}`, turn.signal, state.image.blob);
    const bytes = Uint8Array.from(atob(maps.image), (letter) => letter.charCodeAt(0));
    maps.bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    if (turn.signal.aborted) return;
    state.maps = maps;
  } catch (error) {
    if (turn.signal.aborted) return;
    Object.assign(state, { requested: false, classId: null });
    fail(error);
  }
  say("looking", "");
  showMap();
}

function press() {
  find("look").setAttribute("aria-pressed", state.classId !== null);
  for (const button of find("scores").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.id) === state.classId);
  }
}

function showMap() {
  press();
  const one = state.maps && state.maps.classes.find(({ class_id }) => class_id === state.classId);
  find("map").hidden = find("legend").hidden = !one;
  find("preview").hidden = Boolean(one);
  if (one) {
    const { label } = state.scores.find(({ id }) => id === one.class_id);
    draw(find("map"), state.maps, one.drops);
    say("measure", state.units.measure);
    say("about", `“${label}”`);
    say("falls", state.units.change(scale(one.drops)));
    say("rises", state.units.change(scale(one.drops)));
    say("meaning", describe(one, label, state.maps.patch, state.units));
    find("map").setAttribute("aria-label", find("meaning").textContent);
    find("shown").scrollIntoView({ block: "nearest" });
  }
  if (state.image) caption();
}

/* ---- texts and elements ---- */

function say(id, text) {
  const place = id === "code" ? find("call").querySelector("code") : find(id);
  place.textContent = text;
  if (id === "code") find("call").hidden = false;
}

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

/* Aborts the requests in flight, and removes the results from the page. */
function restart() {
  state.turn.abort();
  state.turn = new AbortController();
  Object.assign(state, { scores: [], classId: null, requested: false, maps: null });
  find("scores").replaceChildren();
  find("features").hidden = true;
  find("inside").hidden = find("hint").hidden = find("call").hidden = true;
  find("labels").classList.remove("busy");
  ["error", "status", "looking"].forEach((id) => say(id, ""));
  showMap();
}

function fail(error) {
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
  find("image").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) find("image").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("image").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("visibilitychange", () => document.hidden || poll());
setInterval(() => document.hidden || poll(), POLL_MS);
poll();
