"use strict";
// Asks one question after another. The rater's number lives in this tab only.

const $ = (id) => document.getElementById(id);
let rater, total, trial, shownAt;

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  if (!response.ok) throw new Error((await response.json()).detail);
  return response.json();
}

function load(image, url) {
  return new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = () => reject(new Error("a picture could not be loaded"));
    image.src = url;
  });
}

async function ask() {
  const next = await call(`/api/trial?rater=${encodeURIComponent(rater)}`);
  if (next.done) {
    $("question").hidden = true;
    $("thanks").hidden = false;
    return;
  }
  $("pair").classList.add("concealed");
  $("map").hidden = !next.label;
  const sides = next.label ? ["left", "right", "label"] : ["left", "right"];
  // Both sides appear at the same moment, so that neither is seen longer.
  await Promise.all(sides.map((side) => {
    const holder = side === "label" ? $("map") : $(side);
    return load(holder.querySelector("img"), `/api/picture/${next.trial}/${side}`);
  }));
  $("progress").textContent = `${next.number + 1} of ${total}`;
  $("hint").textContent = next.exposure_s
    ? "The pictures disappear soon; then choose." : "Click a picture, or press ← or →.";
  $("pair").classList.remove("concealed");
  shownAt = performance.now();
  trial = next.trial;
  if (next.exposure_s) {
    const shown = trial;
    setTimeout(() => {
      if (trial === shown) $("pair").classList.add("concealed");
      $("hint").textContent = "Which one? Click a side, or press ← or →.";
    }, 1000 * next.exposure_s);
  }
}

async function choose(choice) {
  if (trial === undefined) return;
  const answer = { trial, choice, response_ms: Math.round(performance.now() - shownAt) };
  trial = undefined; // a second click on the same question does nothing
  await call("/api/votes", answer);
  await ask();
}

function guarded(work) {
  return async (...details) => {
    try {
      $("error").hidden = true;
      await work(...details);
    } catch (error) {
      $("error").textContent = `That did not work: ${error.message}. Reload the page to go on.`;
      $("error").hidden = false;
    }
  };
}

$("agree").addEventListener("click", guarded(async () => {
  const registered = await call("/api/raters", {});
  rater = registered.rater;
  total = registered.votes;
  $("welcome").hidden = true;
  $("question").hidden = false;
  await ask();
}));
$("left").addEventListener("click", guarded(() => choose("left")));
$("right").addEventListener("click", guarded(() => choose("right")));
document.addEventListener("keydown", guarded(async (event) => {
  if (event.key === "ArrowLeft") await choose("left");
  if (event.key === "ArrowRight") await choose("right");
}));
