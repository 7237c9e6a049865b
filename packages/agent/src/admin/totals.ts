/** What is counted with every portion or piece that passes: plain numbers, without a counter's labels and checks, read at each scrape. */

/**
 * Where bytes come from and go to: `peer` in and out, `origin` in, `client` out (the container runtime), `store` in (read
 * from disk in place of the network).
 */
export type ByteSource = 'peer' | 'origin' | 'store' | 'client';
export type ByteDirection = 'in' | 'out';

export class ByteTotals {
  readonly #in = new Map<ByteSource, number>();
  readonly #out = new Map<ByteSource, number>();

  add(source: ByteSource, direction: ByteDirection, sizeBytes: number): void {
    const totals = direction === 'in' ? this.#in : this.#out;
    totals.set(source, (totals.get(source) ?? 0) + sizeBytes);
  }

  of(source: ByteSource, direction: ByteDirection): number {
    return (direction === 'in' ? this.#in : this.#out).get(source) ?? 0;
  }

  *all(): Generator<{ source: ByteSource; direction: ByteDirection; sizeBytes: number }> {
    for (const [source, sizeBytes] of this.#in) yield { source, direction: 'in', sizeBytes };
    for (const [source, sizeBytes] of this.#out) yield { source, direction: 'out', sizeBytes };
  }
}

/** How often each of a few things happened. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  all(): IterableIterator<[what: string, count: number]> {
    return this.#counts.entries();
  }
}
