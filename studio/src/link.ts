// The stream to the server: keeps it open, sends what has changed, takes the newest photograph.

import { fromBinary } from "@bufbuild/protobuf";
import {
  DropReason,
  type FrameDropped,
  type FrameResult,
  ImageFormat,
  SynthesizeStreamResponseSchema,
} from "./gen/hdsynth/v1/synthesis_pb";
import { type Box, clip } from "./geometry";
import { TILE } from "./history";
import { ackMessage, configMessage, frameMessage, mapPart, picture, stylesInit, stylesMessage, tile } from "./messages";
import type { Scene } from "./scene";
import type { Styles } from "./styles";

export type LinkState = "connecting" | "live" | "busy" | "offline";

/** What a frame shall show. */
export interface View {
  /** null = all of the scene. */
  readonly region: Box | null;
  readonly reduction: number;
  /** A preview may be left out when the server has enough to do; anything else is sent. */
  readonly isPreview: boolean;
  /** When the user did what this frame shows, by `performance.now()`. */
  readonly since: number;
}

/** What the stages of the server took, in milliseconds. */
export interface Stages {
  readonly decode: number;
  /** For the engine, while it was at work on something else. */
  readonly queue: number;
  readonly engine: number;
  readonly encode: number;
}

export interface Shown {
  readonly view: View;
  readonly picture: ImageBitmap | ImageData;
  readonly region: Box;
  readonly milliseconds: Stages;
}

export interface LinkListener {
  onState(state: LinkState): void;
  onPhoto(shown: Shown): void;
  /** The server refused what it was sent, in its words. */
  onRefused(message: string): void;
  onCodes(codes: { instance: number; code: number[] }[]): void;
  /** The frame will bring no photograph. */
  onDropped(view: View): void;
}

const MAX_IN_FLIGHT = 2;
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [400, 8000];
const JPEG_QUALITY = 92;

export class Link {
  private socket: WebSocket | null = null;
  private isReady = false;
  private scene: Scene | null = null;
  private dirty = new Set<number>();
  private needsAll = true;
  private sentStyles: Styles | null = null;
  private nextId = 1n;
  private inFlight = new Map<bigint, View>();
  private waiting: View | null = null;
  private pause = FIRST_PAUSE_MS;
  private timer = 0;

  constructor(
    private readonly listener: LinkListener,
    private readonly key: () => string,
    private readonly model: () => string,
  ) {}

  /** Show another scene from now on. */
  open(scene: Scene): void {
    this.scene = scene;
    this.needsAll = true;
    this.waiting = null;
    if (!this.socket) this.connect();
  }

  /** Note that the maps have changed within a box. */
  touch(box: Box): void {
    if (!this.scene || this.needsAll) return;
    const columns = Math.ceil(this.scene.width / TILE);
    for (let y = Math.floor(box.y / TILE); y * TILE < box.y + box.height; y++) {
      for (let x = Math.floor(box.x / TILE); x * TILE < box.x + box.width; x++) {
        this.dirty.add(y * columns + x);
      }
    }
  }

  /** Ask for a photograph of the scene as it is now. A later request takes its place. */
  request(view: View): void {
    const isFull = view.isPreview && this.inFlight.size >= MAX_IN_FLIGHT;
    if (!this.isReady || isFull) this.waiting = view;
    else this.send(view);
  }

  /** Try again now, after a new key or once the network is back. */
  retry(): void {
    clearTimeout(this.timer);
    this.pause = FIRST_PAUSE_MS;
    this.socket?.close();
    if (!this.socket) this.connect();
  }

  private connect(): void {
    clearTimeout(this.timer);
    this.listener.onState("connecting");
    const address = new URL("v1/stream", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const key = this.key();
    const socket = new WebSocket(address, key ? ["hdsynth.v1", `hdsynth.key.${key}`] : ["hdsynth.v1"]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.sentStyles = this.scene?.styles ?? null;
      const styles = this.sentStyles ? stylesInit(this.sentStyles) : undefined;
      // Nothing is lost on the way to the same machine, where bytes cost nothing.
      const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(address.hostname);
      const format = isHere ? ImageFormat.RAW : ImageFormat.JPEG;
      socket.send(configMessage({ model: this.model(), format, quality: JPEG_QUALITY, styles }));
    };
    socket.onmessage = ({ data }) => this.receive(socket, new Uint8Array(data as ArrayBuffer));
    socket.onclose = () => this.lose(socket);
  }

  private lose(socket: WebSocket): void {
    if (socket !== this.socket) return;
    // What was on its way has to be asked for again, as one photograph of everything.
    const lost = [...this.inFlight.values()].at(-1) ?? this.waiting;
    this.waiting ??= lost && { ...lost, region: null, reduction: 1, isPreview: false };
    this.socket = null;
    this.isReady = false;
    this.needsAll = true;
    this.inFlight.clear();
    this.listener.onState("offline");
    this.timer = window.setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  private receive(socket: WebSocket, bytes: Uint8Array): void {
    const { message } = fromBinary(SynthesizeStreamResponseSchema, bytes);
    switch (message.case) {
      case "ready":
        this.isReady = true;
        this.pause = FIRST_PAUSE_MS;
        this.listener.onState("live");
        this.sendWaiting();
        break;
      case "result":
        void this.show(socket, message.value);
        break;
      case "dropped":
        this.drop(message.value);
        break;
      case "heartbeat":
      case "pacing":
      case "goAway": // the stream closes by itself, and is opened anew
      case undefined:
    }
  }

  private async show(socket: WebSocket, result: FrameResult): Promise<void> {
    const view = this.inFlight.get(result.frameId);
    this.inFlight.delete(result.frameId);
    const scene = this.scene;
    if (!view || !result.photo || !scene) return;
    // Taken before it is shown: the server may begin the next one meanwhile.
    socket.send(ackMessage(result.frameId));
    this.sendWaiting();
    this.listener.onState("live");
    const codes = result.newStyles.map(({ instance, code }) => ({ instance: Number(instance), code }));
    if (codes.length) this.listener.onCodes(codes);
    const drawn = await picture(result.photo);
    if (scene !== this.scene) return;
    const { decode = 0, queue = 0, infer = 0, encode = 0 } = result.seconds ?? {};
    this.listener.onPhoto({
      view,
      picture: drawn,
      region: result.region ?? scene.box,
      milliseconds: { decode: 1000 * decode, queue: 1000 * queue, engine: 1000 * infer, encode: 1000 * encode },
    });
  }

  private drop(notice: FrameDropped): void {
    if (notice.error) {
      this.needsAll = true; // tiles would change maps that the server does not have
      this.listener.onRefused(notice.error.message);
    }
    const isOverloaded = notice.reason === DropReason.OVERLOADED;
    if (isOverloaded) this.listener.onState("busy");
    for (let id = notice.firstFrameId; id <= notice.lastFrameId; id++) {
      const view = this.inFlight.get(id);
      this.inFlight.delete(id);
      if (!view) continue;
      if (isOverloaded && !this.waiting && !this.inFlight.size) {
        this.timer = window.setTimeout(() => this.request(view), FIRST_PAUSE_MS);
      } else {
        this.listener.onDropped(view);
      }
    }
    this.sendWaiting();
  }

  private sendWaiting(): void {
    const view = this.waiting;
    this.waiting = null;
    if (view) this.request(view);
  }

  private send(view: View): void {
    const { scene, socket } = this;
    if (!scene || !socket) return;
    if (this.sentStyles !== scene.styles) {
      socket.send(stylesMessage(scene.styles));
      this.sentStyles = scene.styles;
    }
    const frameId = this.nextId++;
    const boxes = this.needsAll ? [] : this.dirtyBoxes(scene);
    const parts = boxes.map((box) => ({ box, ...mapPart(scene, scene.width, box) }));
    this.inFlight.set(frameId, view);
    this.waiting = null;
    socket.send(
      frameMessage({
        frameId,
        captureTimeUs: BigInt(Math.round(view.since * 1000)),
        ...(this.needsAll ? mapPart(scene, scene.width, scene.box) : {}),
        labelTiles: parts.map(({ box, label }) => tile(box, label)),
        instanceTiles: parts.map(({ box, instance }) => tile(box, instance)),
        sceneCut: this.needsAll,
        region: view.region ?? undefined,
        reduction: view.reduction,
      }),
    );
    this.needsAll = false;
    this.dirty.clear();
  }

  private dirtyBoxes(scene: Scene): Box[] {
    const columns = Math.ceil(scene.width / TILE);
    return [...this.dirty].flatMap((index) => {
      const [x, y] = [(index % columns) * TILE, Math.floor(index / columns) * TILE];
      const box = clip({ x, y, width: TILE, height: TILE }, scene.width, scene.height);
      return box ? [box] : [];
    });
  }
}

