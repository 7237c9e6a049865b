/** Which registries honour requests for a range, as far as somebody has seen. */
const REMEMBERED_MS = 10 * 60_000;
const MAX_REGISTRIES = 4_096;

export class RegistryRanges {
  /** The one seen the longest ago first. */
  readonly #seen = new Map<string, { ranges: boolean; atMs: number }>();

  /** Undefined while nobody has seen it lately. */
  of(registry: string, nowMs: number): boolean | undefined {
    const seen = this.#seen.get(registry);
    return seen === undefined || nowMs - seen.atMs >= REMEMBERED_MS ? undefined : seen.ranges;
  }

  note(registry: string, ranges: boolean, nowMs: number): void {
    this.#seen.delete(registry);
    this.#seen.set(registry, { ranges, atMs: nowMs });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MAX_REGISTRIES && oldest !== undefined) this.#seen.delete(oldest);
  }
}
