/**
 * Lines that show how far each node is. A terminal gets them redrawn in place; anything else gets them again every
 * few seconds, and only those that changed.
 */
import type { TextOutput } from '../cli-io.ts';
import { megabytes } from './report.ts';

const REDRAW_INTERVAL_MS = 100;
const REPEAT_INTERVAL_MS = 3_000;
/** More lines than a small terminal shows cannot be redrawn; then one line speaks for all. */
const MAX_LINES = 20;
const BAR_CELLS = 16;

export interface NodeProgress {
  node: string;
  receivedBytes: number;
  /** Undefined until the manifest is known. */
  totalBytes: number | undefined;
  state: 'waiting' | 'pulling' | 'done' | 'failed';
  /** As the agent counts; it may know of more than the client has received. */
  sources?: { peers: number; origin: number };
}

export class ProgressDisplay {
  readonly #output: TextOutput;
  readonly #read: () => readonly NodeProgress[];
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  #shown: readonly string[] = [];

  /**
   * `read` is asked for the state of the moment whenever lines are drawn; nothing is drawn any more once `signal` fired,
   * because other words stand below the lines then.
   */
  constructor(output: TextOutput, read: () => readonly NodeProgress[], signal?: AbortSignal) {
    this.#signal = signal;
    this.#output = output;
    this.#read = read;
    this.#timer = setInterval(() => this.draw(), output.isTTY === true ? REDRAW_INTERVAL_MS : REPEAT_INTERVAL_MS);
  }

  draw(): void {
    if (this.#signal?.aborted === true) return;
    const lines = progressLines(this.#read());
    if (this.#output.isTTY === true) {
      const up = this.#shown.length > 0 ? `\u001b[${this.#shown.length}A` : '';
      this.#output.write(up + lines.map((line) => `\r\u001b[2K${line}\n`).join(''));
    } else {
      for (const line of lines) if (!this.#shown.includes(line)) this.#output.write(`${line}\n`);
    }
    this.#shown = lines;
  }

  /** Draws the last state and leaves it standing. */
  finish(): void {
    clearInterval(this.#timer);
    this.draw();
  }
}

export function progressLines(nodes: readonly NodeProgress[]): string[] {
  if (nodes.length > MAX_LINES) return [summary(nodes)];
  const width = Math.max(...nodes.map(({ node }) => node.length));
  return nodes.map((node) => progressLine(node, width));
}

function progressLine(progress: NodeProgress, width: number): string {
  const { node, receivedBytes, totalBytes, state, sources } = progress;
  const name = node.padEnd(width);
  if (state === 'failed') return `${name}  failed after ${megabytes(receivedBytes)}`;
  if (state === 'waiting') return `${name}  not begun yet`;
  if (totalBytes === undefined) return `${name}  asking for the manifest`;
  const from =
    sources === undefined ? '' : `  (fetched: peers ${megabytes(sources.peers)}, origin ${megabytes(sources.origin)})`;
  return `${name}  ${bar(receivedBytes / totalBytes)}  ${megabytes(receivedBytes)}${from}`;
}

function summary(nodes: readonly NodeProgress[]): string {
  const received = nodes.reduce((sum, node) => sum + node.receivedBytes, 0);
  const totalBytes = nodes.length * Math.max(...nodes.map((node) => node.totalBytes ?? 0));
  const done = nodes.filter((node) => node.state === 'done').length;
  const failed = nodes.filter((node) => node.state === 'failed').length;
  const share = totalBytes === 0 ? 0 : received / totalBytes;
  const lost = failed === 0 ? '' : `, ${failed} failed`;
  return `${nodes.length} nodes  ${bar(share)}  ${megabytes(received)}, ${done} done${lost}`;
}

/** With its percentage; full only when everything is there. */
export function bar(share: number): string {
  const cells = Math.floor(Math.min(1, share) * BAR_CELLS);
  const percent = Math.floor(Math.min(1, share) * 100);
  return `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)} ${String(percent).padStart(3)} %`;
}
