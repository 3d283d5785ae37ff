// Programs that make the same photograph again, with the maps inside.

import type { Model } from "./api";
import { toBase64 } from "./base64";
import { shownStyles } from "./files";
import { instancePng, labelPng } from "./png";
import type { Scene } from "./scene";

const WIDTH = 100;

/** For a terminal with curl. */
export function curlSnippet(scene: Scene, model: Model, needsKey: boolean): string {
  const file = (name: string, bytes: Uint8Array) =>
    `base64 -d > ${name} <<'END'\n${wrapped(toBase64(bytes))}\nEND`;
  const key = needsKey ? ` \\\n  -H "Authorization: Bearer $HDSYNTH_API_KEY"` : "";
  return [
    file("label.png", labelPng(scene, model)),
    file("instance.png", instancePng(scene)),
    `cat > options.json <<'END'\n${JSON.stringify(shownStyles(scene))}\nEND`,
    "curl --fail-with-body -F label=@label.png -F instance=@instance.png -F options=@options.json \\\n" +
      `  -H 'Accept: image/png'${key} \\\n  ${address(model)} -o photo.png`,
    "",
  ].join("\n");
}

/** For Python with httpx. */
export function pythonSnippet(scene: Scene, model: Model, needsKey: boolean): string {
  const bytes = (png: Uint8Array) => `b64decode("""\n${wrapped(toBase64(png))}\n""")`;
  const key = needsKey ? ', "Authorization": "Bearer " + os.environ["HDSYNTH_API_KEY"]' : "";
  return `from base64 import b64decode
${needsKey ? "import os\n" : ""}from pathlib import Path

import httpx  # pip install httpx

label = ${bytes(labelPng(scene, model))}
instance = ${bytes(instancePng(scene))}
options = """${JSON.stringify(shownStyles(scene))}"""
answer = httpx.post(
    "${address(model)}",
    files={"label": label, "instance": instance},
    data={"options": options},
    headers={"Accept": "image/png"${key}},
    timeout=60,
)
answer.raise_for_status()
Path("photo.png").write_bytes(answer.content)
`;
}

function address(model: Model): string {
  return new URL(`v1/models/${encodeURIComponent(model.name)}:synthesize`, document.baseURI).href;
}

function wrapped(text: string): string {
  return (text.match(new RegExp(`.{1,${WIDTH}}`, "g")) ?? []).join("\n");
}
