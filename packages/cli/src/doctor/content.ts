/** Whether the agent can share what containerd keeps in its own store. */
import { megabytes } from '../demo/report.ts';
import type { ContainerdFacts } from './facts.ts';
import { type Finding, named } from './finding.ts';

const ASK_AGAIN = 'shoal doctor --only content';

export function checkContent(facts: ContainerdFacts): Finding {
  const { ok, warn, skip } = named('content');
  const { socket, state, folder = 'its content store', problem, blobs, bytes, waiting, wrong, unreadable } = facts;
  switch (state) {
    case 'unreachable':
      return warn(
        `containerd does not answer at ${socket}: ${problem ?? 'no reason is known'}`,
        `see whether it runs (systemctl status containerd), whether containerd-socket is right, and whether the agent's user may open it (ls -l ${socket}): it takes root`,
      );
    case 'unreadable':
      return warn(
        `containerd answers, but its files cannot be read: ${problem ?? 'no reason is known'}`,
        'run the agent as root; in a container, mount that folder read-only, and set containerd-root where it is mounted elsewhere',
      );
    case 'connecting':
      return skip(`asking containerd at ${socket} for the first time; then again: ${ASK_AGAIN}`);
  }
  if (wrong > 0) {
    return warn(
      `files in ${folder} that are not what their names say, and never shared: ${wrong}`,
      "the agent's log names them; check the disk, and remove the images that they belong to, so that they are pulled again",
    );
  }
  if (unreadable > 0)
    return warn(
      `files in ${folder} that cannot be read: ${unreadable}`,
      "the agent's log names them; check their rights",
    );
  const toHash = waiting === 0 ? '' : `; ${waiting} more are hashed first`;
  return ok(`${blobs} blobs, ${megabytes(bytes)}, are shared from ${folder}${toHash}`);
}
