import type { Random } from '@shoal/swarm';

/** A set that gives random samples in time that depends on the sample, not on the set. */
export class RandomList<T> {
  readonly #items: T[] = [];
  readonly #indexes = new Map<T, number>();

  get size(): number {
    return this.#items.length;
  }

  has(item: T): boolean {
    return this.#indexes.has(item);
  }

  add(item: T): void {
    if (this.#indexes.has(item)) return;
    this.#indexes.set(item, this.#items.length);
    this.#items.push(item);
  }

  delete(item: T): void {
    const index = this.#indexes.get(item);
    const last = this.#items.at(-1);
    if (index === undefined || last === undefined) return;
    this.#items[index] = last;
    this.#indexes.set(last, index);
    this.#items.pop();
    this.#indexes.delete(item);
  }

  /** Up to `count` different items that `accept` agrees with, each choice equally likely. */
  sample(count: number, random: Random, accept: (item: T) => boolean): T[] {
    // A Fisher–Yates shuffle that stops early; `moved` holds the few places that differ from the list's own order.
    const moved = new Map<number, number>();
    const chosen: T[] = [];
    for (let drawn = 0; drawn < this.#items.length && chosen.length < count; drawn++) {
      const at = drawn + Math.floor(random() * (this.#items.length - drawn));
      const item = this.#items[moved.get(at) ?? at];
      moved.set(at, moved.get(drawn) ?? drawn);
      if (item !== undefined && accept(item)) chosen.push(item);
    }
    return chosen;
  }
}
