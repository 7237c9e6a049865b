/** How well the links are used over time. */
import type { Origin } from './origin.ts';
import type { Setting } from './setting.ts';

/** Shares from 0 to 1, of the time since the point before. */
export interface TracePoint {
  atMs: number;
  originLink: number;
  /** Of all nodes that are there. */
  meanUpLink: number;
  /** Of the nodes that pulled at the end of that time. */
  meanDownLink: number;
  /** Requests that were answered "busy", and bytes that peers sent in vain. */
  busy: number;
  wasted: number;
  complete: number;
  pulling: number;
  /** Per node that pulls: pieces asked for at that moment. */
  inFlight: number;
}

export class Trace {
  readonly points: TracePoint[] = [];
  readonly #setting: Setting;
  readonly #origin: Origin;
  #before = { originBytes: 0, upBytes: 0, receivedBytes: 0, busy: 0, requests: 0, wastedBytes: 0, peerBytes: 0 };

  constructor(setting: Setting, origin: Origin) {
    this.#setting = setting;
    this.#origin = origin;
    if (setting.plan.traceEveryMs > 0) this.#noteSoon();
  }

  #noteSoon(): void {
    const { timeline, plan } = this.#setting;
    timeline.later(plan.traceEveryMs, () => {
      this.#note();
      this.#noteSoon();
    });
  }

  #note(): void {
    const { nodes, tally, plan, nowMs } = this.#setting;
    let upBytes = 0;
    let upCapacity = 0;
    let downCapacity = 0;
    let pulling = 0;
    let complete = 0;
    let inFlight = 0;
    for (const node of nodes) {
      upBytes += node.up.sentBytes(nowMs);
      if (!node.alive) continue;
      upCapacity += node.bytesPerMs;
      if (node.state === 'complete') complete++;
      if (!node.active) continue;
      pulling++;
      downCapacity += node.bytesPerMs;
      inFlight += node.inFlight.length;
    }
    const { busy, requests, wastedBytes, peerBytes, receivedBytes } = tally;
    const originBytes = this.#origin.link.sentBytes(nowMs);
    const before = this.#before;
    this.#before = { originBytes, upBytes, receivedBytes, busy, requests, wastedBytes, peerBytes };
    const share = (part: number, whole: number): number => (whole > 0 ? part / whole : 0);
    const ms = plan.traceEveryMs;
    this.points.push({
      atMs: nowMs,
      originLink: share(originBytes - before.originBytes, (plan.originLink / 8_000) * ms),
      meanUpLink: share(upBytes - before.upBytes, upCapacity * ms),
      meanDownLink: share(receivedBytes - before.receivedBytes, downCapacity * ms),
      busy: share(busy - before.busy, requests - before.requests),
      wasted: share(wastedBytes - before.wastedBytes, peerBytes - before.peerBytes),
      complete,
      pulling,
      inFlight: share(inFlight, pulling),
    });
  }
}
