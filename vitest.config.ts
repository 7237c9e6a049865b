import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const shared = {
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
};

/** Some hundred agents are started from source: compiled once, each is ready a third sooner. */
const env = { NODE_COMPILE_CACHE: join(tmpdir(), 'shoal-compile-cache') };

// Three projects, from fast to real: unit (beside the code, and what the documents say of it), integration (real sockets and processes of our own),
// e2e (Debian's containerd, dockerd, podman, skopeo, docker-registry).
export default defineConfig({
  test: {
    globalSetup: ['test/build.ts'],
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'test/{docs,chaos}/**/*.test.ts', 'bench/**/*.test.ts'],
          // They mostly wait or compute by themselves; the others drive whole clusters and have the machine to themselves.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        ...shared,
        test: {
          name: 'integration',
          env,
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'e2e',
          env,
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/set-up.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
