/* Shows a picture to the model that is chosen: its labels by TF Serving's call, where it looked by /page/occlusion. */
import { SHARP, describe, draw, percent, points, scale } from "./map.js";

const SERVED_TYPES = ["image/jpeg", "image/png", "image/gif", "image/bmp"]; // that the server decodes
const LARGEST_SIDES = [2048, 1024, 512, 256]; // in pixels, of pictures that must become smaller; the first that fits
const LARGEST_AREA = 89e6; // in pixels, that the server decodes
const POLL_MS = 2000;

const find = (id) => document.getElementById(id);
const state = {
  maxRequest: Infinity, // bytes
  picture: null, // {blob, name, note, small}
  scores: [], // of the picture: {label, id, score}
  classId: null, // whose map is shown
  asked: false, // for the maps
  maps: null, // the answer of /page/occlusion
  turn: new AbortController(), // ended by a new picture or another model
};

/* ---- the server ---- */

/* The answer in JSON. `signal` ends the asking, with an error that is nobody's then. */
async function ask(path, signal, body) {
  const response = await fetch(path, { method: body ? "POST" : "GET", body, signal }).catch(() => {
    throw new Error("The server does not answer. Is keras-vit serve still running?");
  });
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
    const told = await ask("page/models", AbortSignal.timeout(10 * POLL_MS));
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
  const before = [...select.options].map((one) => one.value).filter(Boolean);
  if (values.join() === before.join()) return;
  const old = chosen();
  const kept = values.indexOf(select.value);
  const newest = served.findIndex(({ model }) => old && model === old.model);
  const option = ({ model, version }, i) => new Option(`${model}, version ${version}`, values[i]);
  select.replaceChildren(...served.map(option));
  select.disabled = !served.length;
  if (!served.length) select.add(new Option("none is served", ""));
  select.selectedIndex = Math.max(kept, kept < 0 ? newest : 0, 0);
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
  const picture = { name: file.name, small: Math.max(width, height) <= SHARP, note: `${width} × ${height} pixels` };
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
  preview.style.setProperty("--aspect", image.naturalWidth / image.naturalHeight);
  find("shown").hidden = false;
  find("place").hidden = true;
  find("picture").classList.add("filled");
  say("choose", "Choose another picture");
  caption();
}

function hide() {
  find("shown").hidden = true;
  find("place").hidden = false;
  find("picture").classList.remove("filled");
  say("choose", "Choose a picture");
}

function caption() {
  const map = find("map");
  const size = state.maps && state.maps.size;
  const note = map.hidden ? state.picture.note : `as the model gets it: ${size[1]} × ${size[0]} pixels`;
  say("caption", `${state.picture.name || "Pasted picture"} (${note})`);
}

/* ---- its labels ---- */

async function classify() {
  if (!state.picture) return;
  restart();
  const { turn } = state;
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
    const [best] = (await ask(path, turn.signal, body)).predictions;
    if (turn.signal.aborted) return;
    if (!best.class_ids) throw new Error("This model does not answer with labels.");
    if (best.class_ids[0] < 0) {
      throw new Error(`The server cannot decode “${state.picture.name}”; the file may be damaged.`);
    }
    state.scores = best.class_ids.map((id, i) => ({ id, label: best.classes[i], score: best.scores[i] }));
    list();
    const took = Math.max(Math.round(performance.now() - begun), 1);
    const [{ label, score }] = state.scores;
    const who = `version ${asked.version} of ${asked.model}`;
    say("status", `“${label}”, ${percent(score)}, says ${who} after ${took} ms.`);
    find("inside").hidden = find("hint").hidden = false;
    say("code", `POST ${new URL(path, location)}`);
  } catch (error) {
    if (turn.signal.aborted) return;
    fail(error);
  }
  find("answer").classList.remove("busy");
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

/* ---- where the model looked ---- */

/* Shows the map of a class, or none for null. */
function look(classId) {
  state.classId = classId;
  if (classId !== null && !state.asked) askForMaps();
  showMap();
}

/* All classes' maps come with one answer. */
async function askForMaps() {
  const { turn } = state;
  const { model, version } = chosen();
  const query = new URLSearchParams({ model, version });
  state.scores.forEach(({ id }) => query.append("class", id));
  state.asked = true;
  say("looking", "Hiding one place of the picture after the other …");
  try {
    const maps = await ask(`page/occlusion?${query}`, turn.signal, state.picture.blob);
    const bytes = Uint8Array.from(atob(maps.image), (letter) => letter.charCodeAt(0));
    maps.picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    if (turn.signal.aborted) return;
    state.maps = maps;
  } catch (error) {
    if (turn.signal.aborted) return;
    Object.assign(state, { asked: false, classId: null });
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
    say("about", `“${label}”`);
    say("falls", points(scale(one.drops)));
    say("rises", points(scale(one.drops)));
    say("meaning", describe(one, label, state.maps.patch));
    find("map").setAttribute("aria-label", find("meaning").textContent);
    find("shown").scrollIntoView({ block: "nearest" });
  }
  if (state.picture) caption();
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
  Object.assign(state, { scores: [], classId: null, asked: false, maps: null });
  find("scores").replaceChildren();
  find("inside").hidden = find("hint").hidden = find("call").hidden = true;
  find("answer").classList.remove("busy");
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
