/**
 * Members that others got bytes from which did not verify. Nobody can prove that, so it takes two to be heard, it is
 * forgotten, and all it costs is that the member reads nothing from origins for the others.
 */
const REMEMBERED_MS = 5 * 60_000;
const ENOUGH = 2;
const MAX_MEMBERS = 4_096;

export class Complaints {
  /** The one complained about first is first. */
  readonly #about = new Map<string, { by: Set<string>; sinceMs: number }>();

  note(about: string, by: string, nowMs: number): void {
    if (about === by) return;
    this.#expire(nowMs);
    const known = this.#about.get(about);
    if (known === undefined) {
      if (this.#about.size < MAX_MEMBERS) this.#about.set(about, { by: new Set([by]), sinceMs: nowMs });
    } else if (known.by.size < ENOUGH) {
      known.by.add(by);
    }
  }

  /** Whether enough members complained about this one lately. */
  about(member: string, nowMs: number): boolean {
    this.#expire(nowMs);
    return (this.#about.get(member)?.by.size ?? 0) >= ENOUGH;
  }

  #expire(nowMs: number): void {
    for (const [member, { sinceMs }] of this.#about) {
      if (nowMs - sinceMs < REMEMBERED_MS) return;
      this.#about.delete(member);
    }
  }
}
