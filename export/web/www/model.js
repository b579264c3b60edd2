/* The model in LiteRT.js: pixels in, probabilities out.

The runtime is found by the import map of index.html: in this folder, or at a content delivery network. */

const PROBABILITIES = "probabilities";
const KNOWN = "known_score";

/* Loads the runtime and the model; `progress` is called with the number of bytes that have come.

`place` is {file, wasm, local}: the model's file, the folder of the runtime's WebAssembly, and whether it is here. */
export async function open(place, accelerator, progress) {
  const content = fetched(place.file, progress); // beside the runtime, which is as large
  content.catch(() => {}); // it is awaited below
  const runtime = await started(place, accelerator);
  const bytes = await content;
  const compiled = await runtime.loadAndCompile(bytes, { accelerator, gpuOptions: { precision: "fp32" } });
  const [input] = compiled.getInputDetails();
  return { run: (pixels) => run(runtime, compiled, input, pixels) };
}

async function started({ wasm, local }, accelerator) {
  let runtime;
  try {
    runtime = await import("@litertjs/core");
    runtime.unloadLiteRt();
    // Threads are workers, which cannot be started from another server's files.
    const isolated = accelerator === "wasm" && local && self.crossOriginIsolated;
    const threads = isolated && (await runtime.supportsFeature("relaxedSimd"));
    const jspi = accelerator === "webgpu" && "Suspending" in WebAssembly; // what the GPU lacks then runs on the CPU
    await runtime.loadLiteRt(wasm, { threads, jspi });
  } catch (error) {
    const where = local ? "from this server" : `from ${new URL(wasm).host}: is there a connection to the internet?`;
    throw new Error(`The runtime LiteRT.js cannot be loaded ${where} (${error.message || error.type || error})`);
  }
  if (accelerator === "webgpu" && !runtime.getWebGpuDevice()) throw new Error("This browser gives no access to a GPU.");
  return runtime;
}

async function fetched(file, progress) {
  const response = await get(file);
  const chunks = [];
  let length = 0;
  for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; ) {
    chunks.push(part.value);
    length += part.value.length;
    progress(length);
  }
  const bytes = new Uint8Array(length);
  let place = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, place);
    place += chunk.length;
  }
  return bytes;
}

/* The response for a file of this folder; an older copy is not taken without asking the server. */
export async function get(file) {
  const response = await fetch(file, { cache: "no-cache" }).catch(() => null);
  if (response && response.ok) return response;
  throw new Error(`${file} cannot be loaded (${response ? response.status : "the server does not respond"}).`);
}

/* Uint8 H W 3 -> {scores, known}: Float32Array K, and a number or null.

LiteRT.js frees nothing by itself. */
async function run(runtime, compiled, input, pixels) {
  const image = new runtime.Tensor(Float32Array.from(pixels), [...input.shape]);
  const tensors = [image];
  try {
    const outputs = await compiled.run({ [input.name]: image });
    tensors.push(...Object.values(outputs));
    const scores = await outputs[PROBABILITIES].data();
    return { scores, known: KNOWN in outputs ? (await outputs[KNOWN].data())[0] : null };
  } catch (error) {
    throw new Error(`cannot be classified: ${error.message || error}. Reload the page; if this stays, use the CPU.`);
  } finally {
    for (const tensor of tensors) tensor.delete();
  }
}
