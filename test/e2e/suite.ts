import { describe, inject, test } from 'vitest';
import type { Suite } from './requirement.ts';

/**
 * A suite that drives real daemons. Where the machine cannot run it, it is skipped; in CI (`CI=true`) it fails instead,
 * so that a green run there means that every client was tried.
 */
export function describeSuite(suite: Suite, title: string, tests: () => void): void {
  const obstacle = inject('obstacles')[suite];
  if (obstacle === undefined) {
    describe(title, tests);
  } else if (process.env.CI === 'true') {
    test(title, () => {
      throw new Error(`cannot run here: ${obstacle}`);
    });
  } else {
    describe.skip(`${title} (${obstacle})`, tests);
  }
}
