/**
 * The registry: one link, which the responses under way share equally, piece by piece; it answers slowly, wrongly or not at
 * all where the plan says so. A reader that falls behind with its down-link is sent its next piece later, as TCP would.
 */

import { EqualShareLink } from './equal-share-link.ts';
import { ORIGIN_LINK, ORIGIN_PIECE } from './event-kind.ts';
import type { SimNode } from './node.ts';
import { bytesPerMs, type Setting } from './setting.ts';

/** What a reader may lag behind what was sent to it. */
const WINDOW_MS = 20;

/** What a response tells its reader; nothing comes after it was closed, and nothing after `failed`. */
export interface OriginListener {
  headers(ranged: boolean): void;
  /** `last`: the response ends with this piece. */
  piece(index: number, last: boolean): void;
  failed(how: 'failed' | 'refused', retryAfterMs: number | undefined): void;
}

export interface OriginResponse {
  readonly id: number;
  readonly node: SimNode;
  readonly life: number;
  readonly listener: OriginListener;
  /** The piece that is sent, and where the body ends. */
  next: number;
  end: number;
  sinceMs: number;
  /** Where it breaks off or falls silent; the body's end when it does not. */
  breaksAt: number;
  breaks: 'not' | 'failed' | 'silent';
  closed: boolean;
}

export class Origin {
  readonly link: EqualShareLink<OriginResponse>;
  readonly #setting: Setting;
  readonly #random: () => number;
  readonly #responses = new Map<number, OriginResponse>();
  #ids = 0;
  #eventMs = Number.POSITIVE_INFINITY;

  constructor(setting: Setting) {
    const { originLink, link } = setting.plan;
    this.#setting = setting;
    this.#random = setting.randomFor(3);
    this.link = new EqualShareLink(bytesPerMs(originLink), bytesPerMs(Math.min(link, originLink)));
  }

  /** Asks for pieces [from, to). */
  open(node: SimNode, from: number, to: number, listener: OriginListener): OriginResponse {
    const { timeline, plan, pieceCount } = this.#setting;
    const { ranges } = plan.origin;
    const response: OriginResponse = {
      id: this.#ids++,
      node,
      life: node.life,
      listener,
      next: ranges ? from : 0,
      end: ranges ? to : pieceCount,
      sinceMs: 0,
      breaksAt: 0,
      breaks: 'not',
      closed: false,
    };
    timeline.later(plan.originLatencyMs, () => this.#asked(response));
    return response;
  }

  /** The reader hangs up; what is on its way by the time that the origin knows was sent in vain. */
  close(response: OriginResponse): void {
    if (response.closed) return;
    response.closed = true;
    this.#setting.timeline.later(this.#setting.plan.originLatencyMs, () => this.#end(response));
  }

  /** Bytes of the piece under way that have left by now. */
  carried(response: OriginResponse): number {
    return this.link.carried(response, this.#setting.nowMs);
  }

  onLink(): void {
    const { timeline, tally, plan, nowMs } = this.#setting;
    if (nowMs >= this.#eventMs) this.#eventMs = Number.POSITIVE_INFINITY;
    for (let sent = this.link.takeEnded(nowMs); sent !== undefined; sent = this.link.takeEnded(nowMs)) {
      const { node, next, id, sinceMs } = sent;
      const bytes = this.#setting.bytesOf(next);
      tally.originBytes += bytes;
      const taken = Math.max(node.downTakenUntilMs, sinceMs + plan.originLatencyMs) + bytes / node.bytesPerMs;
      node.downTakenUntilMs = taken;
      const arrivesMs = Math.max(taken, nowMs + plan.originLatencyMs);
      timeline.at(arrivesMs, ORIGIN_PIECE, id, next);
      sent.next++;
      if (sent.next === sent.end) continue;
      const behindMs = arrivesMs - nowMs - plan.originLatencyMs - WINDOW_MS;
      if (behindMs <= 0) this.#sendNext(sent);
      else timeline.later(behindMs, () => this.#sendNext(sent));
    }
    this.#watch();
  }

  onPiece(id: number, index: number): void {
    const response = this.#responses.get(id);
    if (response === undefined || response.closed) return;
    const { node, life, listener, end } = response;
    if (!node.alive || node.life !== life) return;
    const { timeline, nowMs } = this.#setting;
    if (node.frozenUntilMs > nowMs) {
      timeline.at(node.frozenUntilMs, ORIGIN_PIECE, id, index);
      return;
    }
    const last = index + 1 === end;
    if (last) {
      response.closed = true;
      this.#responses.delete(id);
    }
    listener.piece(index, last);
  }

  #asked(response: OriginResponse): void {
    const { plan, tally, nowMs } = this.#setting;
    const { node, listener } = response;
    if (response.closed || !node.alive || node.life !== response.life) return;
    tally.originRequests++;
    const outage = plan.origin.outages.find(({ fromMs, toMs }) => fromMs <= nowMs && nowMs < toMs);
    if (outage !== undefined) {
      this.#tell(response, () => this.#fail(response, outage.how, outage.retryAfterMs));
      return;
    }
    this.#chooseFault(response);
    if (response.breaks === 'failed' && response.breaksAt < response.next) {
      this.#tell(response, () => this.#fail(response, 'failed', undefined));
      return;
    }
    this.#responses.set(response.id, response);
    this.#tell(response, () => listener.headers(plan.origin.ranges));
    this.#sendNext(response);
    this.#watch();
  }

  #chooseFault(response: OriginResponse): void {
    const { failing, stalling } = this.#setting.plan.origin;
    if (failing + stalling === 0) return;
    const drawn = this.#random();
    if (drawn >= failing + stalling) return;
    response.breaks = drawn < failing ? 'failed' : 'silent';
    // One before the first piece stands for the headers.
    response.breaksAt = response.next - 1 + Math.floor(this.#random() * (response.end - response.next + 1));
  }

  #sendNext(response: OriginResponse): void {
    const { nowMs } = this.#setting;
    const { node, next } = response;
    if (response.closed || !node.alive || node.life !== response.life) {
      this.#end(response);
      return;
    }
    if (response.breaks !== 'not' && next >= response.breaksAt) {
      // What was sent before comes first.
      const delayMs = Math.max(0, node.downTakenUntilMs - nowMs);
      const tell = (): void => this.#tell(response, () => this.#fail(response, 'failed', undefined));
      if (response.breaks === 'failed') this.#setting.timeline.later(delayMs, tell);
      return;
    }
    response.sinceMs = nowMs;
    this.link.add(response, this.#setting.bytesOf(next), nowMs);
    this.#watch();
  }

  /** The reader hears of it after the way back, if it still listens. */
  #tell(response: OriginResponse, call: () => void): void {
    this.#setting.laterFor(response.node, this.#setting.plan.originLatencyMs, () => {
      if (!response.closed) call();
    });
  }

  #fail(response: OriginResponse, how: 'failed' | 'refused', retryAfterMs: number | undefined): void {
    response.closed = true;
    this.#responses.delete(response.id);
    response.listener.failed(how, retryAfterMs);
  }

  #end(response: OriginResponse): void {
    this.#responses.delete(response.id);
    this.#setting.tally.originBytes += this.link.remove(response, this.#setting.nowMs) ?? 0;
    this.#watch();
  }

  #watch(): void {
    const nextMs = this.link.nextEndMs();
    if (nextMs >= this.#eventMs) return;
    this.#eventMs = nextMs;
    this.#setting.timeline.at(nextMs, ORIGIN_LINK, 0, 0);
  }
}
