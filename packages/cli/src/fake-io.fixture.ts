import type { CliIo, StopSignal } from './cli-io.ts';

export interface FakeIo extends CliIo {
  out(): string;
  err(): string;
  /** Exit codes of processes that would have ended at once. */
  exits: number[];
  signal(signal: StopSignal): void;
  reload(): void;
  /** Resolves once stdout holds this. */
  printed(text: string): Promise<void>;
}

export function fakeIo(env: Record<string, string> = {}, options: { isTTY?: boolean } = {}): FakeIo {
  const texts = { out: '', err: '' };
  const listeners = new Set<(signal: StopSignal) => void>();
  const reloadListeners = new Set<() => void>();
  const exits: number[] = [];
  const waiting: { text: string; done: () => void }[] = [];
  const write = (name: 'out' | 'err', text: string): void => {
    texts[name] += text;
    for (const { text: awaited, done } of waiting) if (texts.out.includes(awaited)) done();
  };
  return {
    env,
    stdout: { write: (text) => write('out', text), isTTY: options.isTTY },
    stderr: { write: (text) => write('err', text), isTTY: options.isTTY },
    onSignal(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    onReload(listener) {
      reloadListeners.add(listener);
      return () => void reloadListeners.delete(listener);
    },
    reload() {
      for (const listener of reloadListeners) listener();
    },
    exit: (exitCode) => void exits.push(exitCode),
    exits,
    out: () => texts.out,
    err: () => texts.err,
    signal(signal) {
      for (const listener of listeners) listener(signal);
    },
    printed: (text) =>
      new Promise((done) => {
        if (texts.out.includes(text)) done();
        else waiting.push({ text, done });
      }),
  };
}
