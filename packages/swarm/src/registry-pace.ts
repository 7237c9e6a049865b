/** How fast one reader gets on at each registry, as its readers have told lately: what is usual there is nobody's fault. */
const SMOOTHING = 0.1;
const MAX_REGISTRIES = 4_096;

export class RegistryPace {
  /** Bytes per millisecond; the one heard of the longest ago first. */
  readonly #paces = new Map<string, number>();

  note(registry: string, bytes: number, tookMs: number): void {
    const sample = bytes / Math.max(1, tookMs);
    const known = this.#paces.get(registry) ?? sample;
    this.#paces.delete(registry);
    this.#paces.set(registry, known + (sample - known) * SMOOTHING);
    const [oldest] = this.#paces.keys();
    if (this.#paces.size > MAX_REGISTRIES && oldest !== undefined) this.#paces.delete(oldest);
  }

  /** What one reader usually needs for so many bytes. 0 while nobody knows. */
  usualMs(registry: string, bytes: number): number {
    const pace = this.#paces.get(registry);
    return pace === undefined ? 0 : bytes / pace;
  }
}
