/** A set of piece indexes kept as runs [from, to), sorted, never touching. For sets that are few runs of many pieces. */
export interface Run {
  from: number;
  to: number;
}

export class Runs {
  #runs: Run[] = [];

  static all(pieceCount: number): Runs {
    const runs = new Runs();
    runs.add(0, pieceCount);
    return runs;
  }

  get empty(): boolean {
    return this.#runs.length === 0;
  }

  /** Pieces in the set. */
  get size(): number {
    return this.#runs.reduce((sum, { from, to }) => sum + to - from, 0);
  }

  [Symbol.iterator](): Iterator<Readonly<Run>> {
    return this.#runs.values();
  }

  has(index: number): boolean {
    return this.runAt(index) !== undefined;
  }

  /** The run that holds the piece. */
  runAt(index: number): Readonly<Run> | undefined {
    return this.#runs.find(({ from, to }) => from <= index && index < to);
  }

  first(): Readonly<Run> | undefined {
    return this.#runs[0];
  }

  add(from: number, to: number): void {
    if (from >= to) return;
    const before = this.#runs.filter((run) => run.to < from);
    const after = this.#runs.filter((run) => run.from > to);
    const touched = this.#runs.slice(before.length, this.#runs.length - after.length);
    const start = Math.min(from, touched[0]?.from ?? from);
    const end = Math.max(to, touched.at(-1)?.to ?? to);
    this.#runs = [...before, { from: start, to: end }, ...after];
  }

  remove(from: number, to: number): void {
    if (from >= to) return;
    this.#runs = this.#runs.flatMap((run) => {
      if (run.to <= from || run.from >= to) return [run];
      const left = { from: run.from, to: Math.min(run.to, from) };
      const right = { from: Math.max(run.from, to), to: run.to };
      return [left, right].filter((part) => part.from < part.to);
    });
  }

  /** The parts of [from, to) that are in the set. */
  within(from: number, to: number): Run[] {
    return this.#runs
      .filter((run) => run.from < to && run.to > from)
      .map((run) => ({ from: Math.max(run.from, from), to: Math.min(run.to, to) }));
  }

  /** The parts of [from, to) that are not in the set. */
  outside(from: number, to: number): Run[] {
    const rest = new Runs();
    rest.add(from, to);
    for (const run of this.within(from, to)) rest.remove(run.from, run.to);
    return [...rest];
  }
}
