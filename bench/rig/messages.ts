// Messages between the rig and its own processes inside namespaces: what to do goes in, what came of it comes out.
import type { ChildProcess } from 'node:child_process';

/** Every message has a `type`; a process sends `failed` in place of any other when it cannot go on. */
interface Message {
  readonly type: string;
}

interface Failed {
  readonly type: 'failed';
  readonly reason: string;
}

/** The next message of that type from the process. @throws when it fails, ends or is aborted first */
export function messageFrom<M extends Message>(child: ChildProcess, type: M['type'], signal: AbortSignal): Promise<M> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      child.off('message', onMessage);
      child.off('exit', onExit);
      child.off('error', onError);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (reason: unknown): void => {
      settle();
      reject(reason);
    };
    const onMessage = (message: Message): void => {
      if (message.type === 'failed') {
        fail(new Error((message as Failed).reason));
      } else if (message.type === type) {
        settle();
        resolve(message as M);
      }
    };
    const onExit = (code: number | null, ended: string | null): void =>
      fail(new Error(`${child.spawnargs.at(-1)} ended early (${ended ?? `exit code ${code}`})`));
    const onError = (error: Error): void => fail(error);
    const onAbort = (): void => fail(signal.reason);
    if (signal.aborted) return reject(signal.reason);
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.on('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** To the rig. */
export function tell<M extends Message>(message: M): void {
  process.send?.(message);
}

export function tellFailure(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  tell<Failed>({ type: 'failed', reason });
}

/** Ends this process when the rig is gone. */
export function endWithRig(): void {
  process.once('disconnect', () => process.exit(0));
}
