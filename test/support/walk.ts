// A walk types commands of the documents as they stand there. It is told which, by document-runs.ts, and must leave none of them out.
import { commandsOfDocuments } from './document-commands.ts';
import { documentRuns } from './document-runs.ts';

export class Walk {
  readonly #file: string;
  readonly #shown: ReadonlySet<string>;
  readonly #typed = new Set<string>();

  private constructor(file: string, shown: ReadonlySet<string>) {
    this.#file = file;
    this.#shown = shown;
  }

  /** @param file of the test that walks, from the checkout's root */
  static async of(file: string): Promise<Walk> {
    const { commands } = await commandsOfDocuments();
    return new Walk(file, new Set(commands.map(({ command }) => command)));
  }

  /** A command that is typed now; some document shows it so. */
  noted(command: string): string {
    if (!this.#shown.has(command)) throw new Error(`no document shows: ${command}`);
    this.#typed.add(command);
    return command;
  }

  /** The same for the only command that has this part, where the whole is too long to stand in a test once more. */
  notedWith(part: string): string {
    const [command = '', ...others] = [...this.#shown].filter((shown) => shown.includes(part));
    if (command === '' || others.length > 0) throw new Error(`none or several commands have: ${part}`);
    return this.noted(command);
  }

  get typed(): string[] {
    return [...this.#typed].sort();
  }

  /** What document-runs.ts says that it types. */
  get meant(): string[] {
    return Object.entries(documentRuns)
      .flatMap(([command, how]) => (how.by === 'a walk' && how.file === this.#file ? [command] : []))
      .sort();
  }
}
