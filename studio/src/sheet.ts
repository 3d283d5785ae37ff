// All candidates of an object in one picture.

import type { Crop } from "./candidates";

const [CAPTION, GAP, SMALLEST_CELL] = [22, 8, 96];

export async function contactSheet(crops: readonly Crop[]): Promise<Blob> {
  const pictures = await Promise.all(crops.map(({ photo }) => createImageBitmap(photo)));
  const columns = Math.ceil(Math.sqrt(crops.length));
  const zoom = Math.max(1, Math.ceil(SMALLEST_CELL / pictures[0].width));
  const width = zoom * pictures[0].width + GAP;
  const height = zoom * pictures[0].height + CAPTION + GAP;
  const sheet = new OffscreenCanvas(columns * width + GAP, Math.ceil(crops.length / columns) * height + GAP);
  const context = sheet.getContext("2d");
  if (!context) throw new Error("The browser has no memory for the sheet.");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.fillStyle = "#222";
  context.font = "13px system-ui, sans-serif";
  context.imageSmoothingEnabled = false;
  pictures.forEach((picture, i) => {
    const [x, y] = [GAP + (i % columns) * width, GAP + Math.floor(i / columns) * height];
    context.drawImage(picture, x, y, zoom * picture.width, zoom * picture.height);
    const { wish } = crops[i];
    context.fillText(wish === undefined ? "Auto" : `Style ${Number(wish) + 1}`, x, y + height - GAP - 6);
  });
  return sheet.convertToBlob();
}
