/**
 * A node's word to the tracker: what it wants and holds, at once and then every ten seconds, also while the tracker is down.
 * Follows `joined-tracker-client.ts` and `announcer.ts` of the agent; joining is taken as done.
 */
import type { Links } from './links.ts';
import type { SimNode } from './node.ts';
import type { Setting } from './setting.ts';
import type { Tracker } from './tracker.ts';

// As in the agent.
const ANNOUNCE_EVERY_MS = 10_000;
const BACK_OFF_MS = 1_000;
const MIN_ROUND_GAP_MS = 250;
const NEWS_BATCH_MS = 50;
const MEET_EVERY_MS = 10_000;

export class Announcing {
  readonly #setting: Setting;
  readonly #tracker: Tracker;
  readonly #links: Links;
  readonly #found: (node: SimNode, others: readonly SimNode[]) => void;

  constructor(
    setting: Setting,
    tracker: Tracker,
    links: Links,
    found: (node: SimNode, others: readonly SimNode[]) => void,
  ) {
    this.#setting = setting;
    this.#tracker = tracker;
    this.#links = links;
    this.#found = found;
  }

  /** The node's process has started. */
  start(node: SimNode): void {
    node.trackerUp = this.#tracker.isUp;
    node.haveIsNews = false;
    if (this.#setting.plan.tracker.exists) this.#roundIn(node, node.trackerUp ? node.random() * ANNOUNCE_EVERY_MS : 0);
    this.#meetKnown(node);
  }

  want(node: SimNode): void {
    if (!node.trackerUp) return;
    this.#tracker.announce(node, (found) => {
      if (found === undefined) this.unanswered(node);
      else this.#found(node, found);
    });
  }

  have(node: SimNode): void {
    node.haveIsNews = true;
    this.#setting.laterFor(node, NEWS_BATCH_MS, () => {
      if (!node.trackerUp || !node.haveIsNews) return;
      this.#tracker.announce(node, (found) => {
        if (found === undefined) this.unanswered(node);
        else node.haveIsNews = false;
      });
    });
  }

  /** A call got no answer: the tracker is taken for down until a round succeeds. */
  unanswered(node: SimNode): void {
    if (!node.trackerUp) return;
    node.trackerUp = false;
    this.#roundIn(node, MIN_ROUND_GAP_MS);
  }

  #roundIn(node: SimNode, delayMs: number): void {
    const round = ++node.round;
    this.#setting.laterFor(node, delayMs, () => {
      if (node.round !== round) return;
      this.#tracker.announce(node, (found) => {
        if (node.round !== round) return;
        node.trackerUp = found !== undefined;
        this.#roundIn(node, node.trackerUp ? ANNOUNCE_EVERY_MS : BACK_OFF_MS * (0.75 + node.random() / 2));
        if (found === undefined) return;
        node.haveIsNews = false;
        this.#found(node, found);
      });
    });
  }

  /** While the tracker is away, keeps in touch with those met before. */
  #meetKnown(node: SimNode): void {
    if (!node.trackerUp) this.#links.dial(node, node.known);
    this.#setting.laterFor(node, MEET_EVERY_MS, () => this.#meetKnown(node));
  }
}
