// The page at "/": a sample scene and its photograph, or the visitor's own maps.
// It uses the same endpoints as any other client.

const $ = (id) => document.getElementById(id);
const FIRST_SCENE = 4;
const LARGEST_SCENE = 2 ** 31 - 1;

let model = null; // its entry in v1/models
let scene = 0; // seed of the sample scene; null = the visitor's own maps are shown
let maps = null; // { label, instance }: what is uploaded, instance may be null
let turn = 0; // counts requests, so that a late answer does not replace a newer one

start();

async function start() {
  $("new-scene").onclick = () => showSample(Math.floor(Math.random() * 100000));
  $("new-styles").onclick = () => {
    $("seed").value = Math.floor(Math.random() * 100000);
    synthesize();
  };
  $("seed").onchange = () => synthesize();
  $("own-label").onchange = $("own-instance").onchange = () =>
    showOwn($("own-label").files[0], $("own-instance").files[0]);
  $("copy").onclick = copyCommand;
  acceptDrops($("own"));

  model = (await whenReady()).models[0];
  $("classes").append(...model.classes.map(classEntry));
  const wanted = new URLSearchParams(location.hash.slice(1));
  $("seed").value = Number(wanted.get("styles")) || 0;
  if (model.samples) {
    await showSample(Number(wanted.get("scene") ?? FIRST_SCENE));
  } else {
    $("new-scene").hidden = true;
    setStatus("Choose a label map below");
    $("photo-frame").ariaBusy = "false";
  }
}

async function whenReady() {
  for (;;) {
    try {
      const response = await fetch("v1/models");
      if (response.ok) return await response.json();
    } catch {
      // The server is starting or restarting.
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function showSample(seed) {
  scene = Math.min(Math.max(Math.trunc(seed), 0), LARGEST_SCENE);
  $("own-label").value = $("own-instance").value = "";
  try {
    const parts = ["label", "instance"].map((part) => request(`v1/samples/${scene}/${part}.png`));
    const [label, instance] = await Promise.all(parts.map(async (part) => (await part).blob()));
    await useMaps(label, instance);
  } catch (error) {
    showProblem(error);
  }
}

async function showOwn(label, instance) {
  if (!label) {
    showProblem(new Error("Choose a label map too: the instance map alone says nothing."));
    return;
  }
  try {
    const copies = await Promise.all([label, instance].map((file) => file && inMemory(file)));
    scene = null;
    await useMaps(copies[0], copies[1] ?? null);
  } catch (error) {
    showProblem(error);
  }
}

// A file that is saved again after it was chosen could not be uploaded any more.
async function inMemory(file) {
  try {
    return new File([await file.arrayBuffer()], file.name);
  } catch {
    throw new Error(`${file.name} cannot be read; choose it again.`);
  }
}

async function useMaps(label, instance) {
  maps = { label, instance };
  $("label-caption").textContent = scene === null ? label.name : `Label map of scene ${scene}`;
  await showLabel(label);
  await synthesize();
}

async function synthesize() {
  if (!maps) return;
  const mine = ++turn;
  const seed = $("seed").valueAsNumber;
  const form = new FormData();
  form.append("label", maps.label, maps.label.name ?? "label.png");
  if (maps.instance) form.append("instance", maps.instance, maps.instance.name ?? "instance.png");
  form.append("options", JSON.stringify({ seed }));
  describe(seed);
  $("photo-frame").ariaBusy = "true";
  setStatus("Synthesising …");
  try {
    const headers = { Accept: "image/png" };
    const response = await request("synthesize", { method: "POST", body: form, headers });
    const photo = await response.blob();
    if (mine !== turn) return;
    setPicture($("photo"), URL.createObjectURL(photo));
    $("photo").alt = "Photograph that the model made of the label map";
    $("save").href = $("photo").src;
    $("save").hidden = false;
    $("problem").hidden = true;
    setStatus(`in ${seconds(response.headers.get("Server-Timing"))} s`);
    $("photo-frame").ariaBusy = "false";
  } catch (error) {
    if (mine === turn) showProblem(error);
  }
}

// Fetch, and turn a problem+json answer into an Error with the server's own words.
async function request(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  if (!problem?.detail) throw new Error(`The server answered with status ${response.status}.`);
  throw new Error(problem.detail[0].toUpperCase() + problem.detail.slice(1));
}

function showProblem(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
  // What is left would be the photograph of other maps.
  $("photo").hidden = $("save").hidden = true;
  $("photo-frame").ariaBusy = "false";
  setStatus("No photograph");
}

async function showLabel(file) {
  const bytes = new DataView(await file.slice(0, 33).arrayBuffer());
  // Byte 24 of a PNG file is the bit depth, byte 25 the colour type: 0 = grey. Grey ids would
  // look black, so they are painted in the model's colours; a palette is shown as it is.
  const isGrey = bytes.byteLength === 33 && bytes.getUint8(24) === 8 && bytes.getUint8(25) === 0;
  const picture = $("label");
  const size = new Promise((resolve) => {
    picture.onload = () => resolve(`${picture.naturalWidth} × ${picture.naturalHeight}`);
    picture.onerror = () => resolve("cannot be shown");
  });
  const shown = isGrey ? await painted(file).catch(() => file) : file;
  setPicture(picture, URL.createObjectURL(shown));
  picture.alt = "Label map: every class has a colour of its own";
  $("label-size").textContent = await size;
}

async function painted(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let i = 0; i < image.data.length; i += 4) {
    image.data.set(model.classes[image.data[i]]?.colour ?? [255, 255, 255], i);
  }
  context.putImageData(image, 0, 0);
  return canvas.convertToBlob();
}

function setPicture(picture, address) {
  URL.revokeObjectURL(picture.src);
  picture.src = address;
  picture.hidden = false;
}

function setStatus(words) {
  $("status").textContent = words;
}

// Sum of the milliseconds in a Server-Timing header, in seconds.
function seconds(header) {
  const durations = [...(header ?? "").matchAll(/dur=([\d.]+)/g)].map((match) => Number(match[1]));
  return (durations.reduce((sum, value) => sum + value, 0) / 1000).toFixed(2);
}

// Keep the address and the command in step with what is shown.
function describe(seed) {
  const base = new URL(".", location.href).href.split("#")[0];
  const names = { label: maps.label.name ?? "label.png", instance: maps.instance?.name ?? "instance.png" };
  const lines = [`curl -F label=@${quoted(names.label)}`];
  if (maps.instance) lines[0] += ` -F instance=@${quoted(names.instance)}`;
  lines[0] += ` -F 'options={"seed": ${seed}}' ${base}synthesize -o photo.png`;
  if (scene !== null) {
    lines.unshift(`curl -O ${base}v1/samples/${scene}/label.png -O ${base}v1/samples/${scene}/instance.png`);
    history.replaceState(null, "", `#scene=${scene}&styles=${seed}`);
  } else {
    history.replaceState(null, "", location.pathname);
  }
  $("curl").textContent = lines.join("\n");
}

function quoted(name) {
  return /^[\w.-]+$/.test(name) ? name : `'"${name.replaceAll("'", "'\\''")}"'`;
}

async function copyCommand() {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
  } catch {
    // Browsers lend the clipboard to secure pages only; elsewhere the selection is ready to copy.
    getSelection().selectAllChildren($("curl"));
    return;
  }
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
}

function classEntry({ name, colour }) {
  const entry = document.createElement("li");
  const chip = document.createElement("i");
  chip.style.backgroundColor = `rgb(${colour.join(" ")})`;
  entry.append(chip, name);
  return entry;
}

function acceptDrops(zone) {
  // The whole window takes files; otherwise a near miss would replace the page by the picture.
  window.ondragover = (event) => {
    event.preventDefault();
    zone.classList.add("over");
  };
  window.ondragleave = () => zone.classList.remove("over");
  window.ondrop = async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...event.dataTransfer.files];
    const isInstance = await Promise.all(files.map(looksLikeInstances));
    const label = files.find((_, i) => !isInstance[i]);
    if (files.length) showOwn(label, files.find((_, i) => isInstance[i]));
  };
}

// Instance maps are told by their name, or by the 16 bits that ids usually need.
async function looksLikeInstances(file) {
  if (/inst/i.test(file.name)) return true;
  const bytes = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  return bytes[24] === 16;
}
