import type { Random } from '@shoal/swarm';

export interface Placed {
  /** Where the item is; the list's own business. */
  at: number;
}

/**
 * A set, some of whose items are marked, that gives random items of all or of the marked ones in time that depends on
 * how many are drawn, not on the set. The marked ones come first:
 *
 *   items   m m m m . . . . . .
 *           0       marked    size
 */
export class MarkedList<T extends Placed> {
  readonly #items: T[] = [];
  #marked = 0;

  get size(): number {
    return this.#items.length;
  }

  get markedSize(): number {
    return this.#marked;
  }

  isMarked(item: T): boolean {
    return item.at < this.#marked;
  }

  /** The item must be in no list. */
  add(item: T): void {
    item.at = this.#items.length;
    this.#items.push(item);
  }

  /** The item must be in this list. */
  delete(item: T): void {
    this.mark(item, false);
    this.#swap(item, this.#items.length - 1);
    this.#items.pop();
  }

  /** The item must be in this list. */
  mark(item: T, marked: boolean): void {
    if (this.isMarked(item) === marked) return;
    if (marked) this.#swap(item, this.#marked++);
    else this.#swap(item, --this.#marked);
  }

  /** All (or all marked) items as they stand. The list must not change meanwhile. */
  *all(onlyMarked: boolean): Generator<T> {
    const size = onlyMarked ? this.#marked : this.#items.length;
    for (let at = 0; at < size; at++) yield this.#items[at] as T;
  }

  /** All (or all marked) items in random order, each order equally likely. The list must not change meanwhile. */
  *draw(random: Random, onlyMarked: boolean): Generator<T> {
    // A Fisher–Yates shuffle that goes only as far as it is asked; `moved` holds the places that differ from the list.
    const size = onlyMarked ? this.#marked : this.#items.length;
    const moved = new Map<number, number>();
    for (let drawn = 0; drawn < size; drawn++) {
      const at = drawn + Math.floor(random() * (size - drawn));
      const item = this.#items[moved.get(at) ?? at];
      moved.set(at, moved.get(drawn) ?? drawn);
      if (item !== undefined) yield item;
    }
  }

  #swap(item: T, at: number): void {
    const other = this.#items[at];
    if (other === undefined || other === item) return;
    this.#items[item.at] = other;
    other.at = item.at;
    this.#items[at] = item;
    item.at = at;
  }
}
