import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const shared = {
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
};

/** Some hundred agents are started from source: compiled once, each is ready a third sooner. */
const env = { NODE_COMPILE_CACHE: join(tmpdir(), 'shoal-compile-cache') };

/**
 * What measures, counts what is asked within a moment, or keeps both processors busy by itself has the machine to itself. All others mostly wait, for
 * processes, folders, ports and machines that are their own: two files at a time are in nobody's way.
 */
const integrationAlone = 'test/integration/{drain,flash-references,memory,prefetch,start-up}.test.ts';
const e2eAlone = 'test/e2e/{chaos,rollout,several-trackers}.test.ts';
const inPairs = { maxWorkers: 2, sequence: { groupOrder: 2 } };
const alone = { maxWorkers: 1, sequence: { groupOrder: 3 } };

const integration = { env, testTimeout: 60_000, hookTimeout: 60_000 };
const e2e = { env, globalSetup: ['test/e2e/set-up.ts'], testTimeout: 180_000, hookTimeout: 180_000 };

// From fast to real: unit (beside the code, and what the documents say of it), integration (real sockets and processes of our own), e2e (Debian's
// containerd, dockerd, podman, skopeo, docker-registry), and then, one after the other, the files of both that need the machine alone.
export default defineConfig({
  test: {
    globalSetup: ['test/build.ts'],
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'test/{docs,chaos}/**/*.test.ts', 'bench/**/*.test.ts'],
          // They take a processor's time for half of theirs; property tests need more than the usual five seconds where others are at work, too.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
          testTimeout: 20_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          exclude: [integrationAlone],
          ...integration,
          ...inPairs,
        },
      },
      {
        ...shared,
        test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], exclude: [e2eAlone], ...e2e, ...inPairs },
      },
      { ...shared, test: { name: 'integration alone', include: [integrationAlone], ...integration, ...alone } },
      { ...shared, test: { name: 'e2e alone', include: [e2eAlone], ...e2e, ...alone } },
    ],
  },
});
