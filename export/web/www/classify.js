/* The page: an image is dropped, pasted or chosen, and its labels are listed. Nothing is sent anywhere. */
import { get, open } from "./model.js";
import { prepare } from "./prepare.js";

const TOP = 5; // labels that are listed, where an image has one
const SMALL = 300; // pixels of an image's longer side, up to which it is shown enlarged and in its own pixels
const EVEN = 0.5; // the threshold of a class where none was chosen

const find = (id) => document.getElementById(id);
const here = find("page").dataset; // what index.html says of the model
let model = null; // what the folder holds, once it is loaded
let turn = 0; // counts images; the answer for an earlier one is dropped
let last = null; // the file that is shown

/* ---- the model ---- */

async function load() {
  const accelerator = find("accelerator").value;
  const place = { file: here.model, wasm: new URL(here.wasm, document.baseURI).href, local: !here.wasm.includes("//") };
  say("status", "The model and its runtime are loading.");
  find("progress").hidden = false;
  const text = async (file) => (await get(file)).text();
  const [opened, labels, spec, answers] = await Promise.all([
    open(place, accelerator, showProgress),
    text("labels.txt"),
    text("preprocessing.json"),
    here.answers ? text(here.answers) : "{}",
  ]);
  return { ...opened, labels: lines(labels), spec: JSON.parse(spec), answers: JSON.parse(answers) };
}

function lines(text) {
  const all = text.split(/\r?\n/);
  return all.at(-1) === "" ? all.slice(0, -1) : all;
}

function showProgress(bytes) {
  find("bytes").value = bytes / here.bytes;
  say("loaded", `${(bytes / 1e6).toFixed(1)} of ${(here.bytes / 1e6).toFixed(1)} MB`);
}

/* Loads the model for the selected accelerator, and classifies the image that is shown. */
async function start() {
  restart();
  model = null;
  find("accelerator").disabled = true;
  try {
    model = await load();
    say("status", "Ready: choose an image.");
    if (last) classify(last);
  } catch (error) {
    fail(error.message);
  }
  find("progress").hidden = true;
  find("accelerator").disabled = false;
}

/* ---- an image ---- */

function take(file) {
  if (!file) {
    fail("There was no image file in that. Drop, paste or choose a JPEG, PNG or WebP file.");
    return;
  }
  last = file;
  preview(file);
  if (model) classify(file); // else as soon as it is loaded
}

async function classify(file) {
  restart();
  const mine = turn;
  say("status", "Classifying …");
  find("labels").classList.add("busy");
  try {
    await painted(); // what follows keeps the browser busy
    const begun = performance.now();
    const pixels = await prepare(file, model.spec);
    const prepared = performance.now();
    const { scores, known } = await model.run(pixels);
    const ended = performance.now();
    if (mine !== turn) return;
    list(scores, known, ended - begun);
    const detail = { name: file.name, scores, known, milliseconds: [prepared - begun, ended - prepared] };
    document.dispatchEvent(new CustomEvent("classified", { detail })); // for pages that embed this one
  } catch (error) {
    if (mine !== turn) return;
    hide();
    fail(`“${file.name || "The image"}” ${error.message}`);
  }
  find("labels").classList.remove("busy");
}

function painted() {
  return new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}

function preview(file) {
  const image = find("preview");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.onload = () => {
    const { naturalWidth: width, naturalHeight: height } = image;
    image.classList.toggle("small", Math.max(width, height) <= SMALL);
    image.style.setProperty("--aspect", width / height);
    say("caption", `${file.name || "Pasted image"} (${width} × ${height} pixels)`);
    find("shown").hidden = false;
    find("place").hidden = true;
    find("image").classList.add("filled");
    say("choose", "Choose another image");
  };
}

function hide() {
  find("preview").onload = null;
  find("shown").hidden = true;
  find("place").hidden = false;
  find("image").classList.remove("filled");
  say("choose", "Choose an image");
  last = null;
}

/* ---- its labels ---- */

/* Lists the best labels; of several labels per image, those that reach their thresholds. */
function list(scores, known, milliseconds) {
  const { labels, answers } = model;
  const sorted = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
  const several = Boolean(answers.multi_label);
  const least = Float32Array.from(answers.thresholds || labels, (one) => (answers.thresholds ? one : EVEN));
  const shown = several ? sorted.filter((k) => scores[k] >= least[k]) : sorted.slice(0, TOP);
  find("scores").replaceChildren(...shown.map((k) => row(labels[k], scores[k])));
  const unknown = known !== null && answers.unknown && known < Math.fround(answers.unknown.threshold);
  find("unknown").hidden = !unknown;
  const [best] = shown;
  const words = !shown.length
    ? "None of the labels"
    : several && shown.length > 1
      ? `${shown.length} labels`
      : `“${labels[best]}”, ${percent(scores[best])}`;
  say("status", `${words}, after ${Math.max(Math.round(milliseconds), 1)} ms.`);
}

function row(label, score) {
  const item = element("li", {});
  const bar = element("span", { className: "bar" });
  bar.setAttribute("aria-hidden", "true");
  bar.append(element("i", {}));
  bar.firstChild.style.width = `${100 * score}%`;
  const name = element("span", { className: "label", textContent: label });
  item.append(name, element("span", { className: "score", textContent: percent(score) }), bar);
  return item;
}

function percent(score) {
  return score > 0 && score < 0.001 ? "< 0.1\u00a0%" : `${(100 * score).toFixed(1)}\u00a0%`;
}

/* ---- texts and elements ---- */

function say(id, text) {
  find(id).textContent = text;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

/* Removes the results from the page. */
function restart() {
  turn += 1;
  find("scores").replaceChildren();
  find("unknown").hidden = true;
  find("labels").classList.remove("busy");
  say("error", "");
}

function fail(message) {
  say("status", "");
  say("error", message);
}

/* ---- events ---- */

find("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
find("accelerator").addEventListener("change", start);
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
navigator.gpu?.requestAdapter().then((adapter) => (find("choice").hidden = !adapter));
find("accelerator").value = "wasm"; // some browsers keep the selection of the last visit
start();
