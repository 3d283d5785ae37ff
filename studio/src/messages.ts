// Scenes and styles as messages of the stream (proto/hdsynth/v1/synthesis.proto).

import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ElementType,
  type FrameSchema,
  ImageFormat,
  MapEncoding,
  type MapSchema,
  type MapTileSchema,
  type Photo,
  type StreamConfigSchema,
  type StyleSchema,
  type StylesSchema,
  SynthesizeStreamRequestSchema,
} from "./gen/hdsynth/v1/synthesis_pb";
import type { Box } from "./geometry";
import type { Planes } from "./scene";
import { type Plain, type Styles, type Wish, isBetween } from "./styles";

export function configMessage(config: MessageInitShape<typeof StreamConfigSchema>): Uint8Array<ArrayBuffer> {
  return request({ case: "config", value: config });
}

export function frameMessage(frame: MessageInitShape<typeof FrameSchema>): Uint8Array<ArrayBuffer> {
  return request({ case: "frame", value: frame });
}

export function ackMessage(frameId: bigint): Uint8Array<ArrayBuffer> {
  return request({ case: "ack", value: { frameId } });
}

export function stylesMessage(styles: Styles): Uint8Array<ArrayBuffer> {
  return request({ case: "styles", value: stylesInit(styles) });
}

export function stylesInit(styles: Styles): MessageInitShape<typeof StylesSchema> {
  const all = (map: ReadonlyMap<number, Wish>) =>
    Object.fromEntries([...map].map(([key, wish]) => [key, wishInit(wish)]));
  return { seed: BigInt(styles.seed), instances: all(styles.instances), classes: all(styles.classes) };
}

/** A part of both maps, as they are. */
export function mapPart(planes: Planes, width: number, box: Box) {
  const label = new Uint8Array(box.width * box.height);
  const instance = new Uint16Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    const from = (box.y + y) * width + box.x;
    label.set(planes.label.subarray(from, from + box.width), y * box.width);
    instance.set(planes.instance.subarray(from, from + box.width), y * box.width);
  }
  const plane = (data: Uint8Array, elementType: ElementType): MessageInitShape<typeof MapSchema> => ({
    encoding: MapEncoding.RAW,
    elementType,
    width: box.width,
    height: box.height,
    data,
  });
  return {
    label: plane(label, ElementType.UINT8),
    instance: plane(new Uint8Array(instance.buffer), ElementType.UINT16),
  };
}

export function tile(box: Box, map: MessageInitShape<typeof MapSchema>): MessageInitShape<typeof MapTileSchema> {
  return { x: box.x, y: box.y, map };
}

/** Decode a photograph. */
export async function picture(photo: Photo): Promise<ImageBitmap | ImageData> {
  const { width, height, data } = photo;
  if (photo.format !== ImageFormat.RAW) {
    return createImageBitmap(new Blob([data as Uint8Array<ArrayBuffer>]));
  }
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0, j = 0; i < pixels.length; i++, j += 3) {
    pixels[i] = 0xff000000 | (data[j + 2] << 16) | (data[j + 1] << 8) | data[j];
  }
  return image;
}

function wishInit(wish: Wish): MessageInitShape<typeof StyleSchema> {
  if (!isBetween(wish)) return plainInit(wish);
  const [first, second] = wish.between.map(plainInit);
  return { kind: { case: "between", value: { first, second, at: wish.at } } };
}

function plainInit(wish: Plain): MessageInitShape<typeof StyleSchema> {
  if (typeof wish === "number") return { kind: { case: "cluster", value: wish } };
  return { kind: { case: "code", value: { values: [...wish] } } };
}

function request(message: MessageInitShape<typeof SynthesizeStreamRequestSchema>["message"]): Uint8Array<ArrayBuffer> {
  return toBinary(SynthesizeStreamRequestSchema, create(SynthesizeStreamRequestSchema, { message }));
}
