// The end of one of the rig's own processes.
import type { ChildProcess } from 'node:child_process';

/** At once: a helper has nothing to put in order. Resolves when it is gone. */
export async function endHelper(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}
