/** Whom a node connects to, of those that it hears of. Follows `neighbourhood.ts` of the agent. */
import type { Links } from './links.ts';
import type { SimNode } from './node.ts';
import type { Setting } from './setting.ts';

// As in the agent.
const DIAL_TAKES_MS = 2_000;

export class Neighbourhood {
  readonly #setting: Setting;
  readonly #links: Links;

  constructor(setting: Setting, links: Links) {
    this.#setting = setting;
    this.#links = links;
  }

  /** Dials as many of those found as neighbours are missing, those first that were not dialled before. */
  meet(node: SimNode, found: readonly SimNode[]): void {
    const { nowMs, plan } = this.#setting;
    const strangers = found.filter((other) => other !== node && !node.neighbours.includes(other));
    const known = Math.max(node.swarm?.neighbourCount ?? 0, found.length - strangers.length);
    let pending = 0;
    for (const [other, atMs] of node.dialledAtMs) {
      if (nowMs - atMs < DIAL_TAKES_MS && !node.neighbours.includes(other)) pending++;
    }
    const missing = plan.neighbours - known - pending;
    if (missing <= 0) return;
    const lastDial = (other: SimNode): number => node.dialledAtMs.get(other) ?? Number.NEGATIVE_INFINITY;
    const idle = strangers.filter((other) => nowMs - lastDial(other) >= DIAL_TAKES_MS);
    this.seek(
      node,
      idle.sort((a, b) => (lastDial(a) === lastDial(b) ? 0 : lastDial(a) - lastDial(b))).slice(0, missing),
    );
  }

  /** Dials nodes that have what is needed now, however many neighbours there are. */
  seek(node: SimNode, others: readonly SimNode[]): void {
    if (others.length === 0) return;
    for (const other of others) node.dialledAtMs.set(other, this.#setting.nowMs);
    this.#links.dial(node, others);
  }
}
