import { describe, test } from 'vitest';
import { findProgram } from '../support/daemon/programs.ts';

const obstacles = {
  skopeo: () => (findProgram('skopeo') === undefined ? 'skopeo is not installed' : undefined),
  'systemd-socket-activate': () =>
    findProgram('systemd-socket-activate') === undefined ? 'systemd-socket-activate is not installed' : undefined,
  'redis-server': () => (findProgram('redis-server') === undefined ? 'redis-server is not installed' : undefined),
  root: () => (process.getuid?.() === 0 ? undefined : 'not root, so nothing can be mounted'),
} as const;

/**
 * Tests that need something of the machine. Where it is missing they are skipped with one line that says so; in CI
 * (`CI=true`) they fail, so that a green run there means that all of them ran.
 */
export function describeWith(need: keyof typeof obstacles, title: string, tests: () => void): void {
  const obstacle = obstacles[need]();
  if (obstacle === undefined) {
    describe(title, tests);
  } else if (process.env.CI === 'true') {
    test(title, () => {
      throw new Error(`cannot run here: ${obstacle}`);
    });
  } else {
    process.stderr.write(`skipped: ${title} (${obstacle})\n`);
    describe.skip(title, tests);
  }
}
