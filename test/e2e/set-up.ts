import { readFileSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { hasCgroupV1 } from '../support/daemon/cgroup-v1.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt } from '../support/daemon/process.ts';
import { debianPackages, findProgram, type Program } from '../support/daemon/programs.ts';
import { sweepCgroups } from '../support/kubernetes/node-cgroups.ts';
import { type Obstacles, type Requirement, requirements, type Suite } from './requirement.ts';
import { withoutServices } from './without-services.ts';

// Before the end-to-end suites: makes sure that the daemons they drive are installed, from Debian's packages where this
// process may do that, and tells the suites which of them cannot run here. With everything there it only looks. What
// earlier runs left behind, because they were killed, is stopped and removed.

declare module 'vitest' {
  export interface ProvidedContext {
    obstacles: Obstacles;
  }
}

const updateTimeoutMs = 120_000;
const installTimeoutMs = 300_000;

const isRoot = process.getuid?.() === 0;

export async function setup(project: TestProject): Promise<void> {
  await sweep();
  const failure = await installMissing();
  const obstacles = findObstacles(failure);
  const lines = Object.entries(obstacles).map(([suite, why]) => `${suite} (${why})`);
  if (lines.length > 0) process.stderr.write(`e2e: cannot run here: ${lines.join(', ')}\n`);
  project.provide('obstacles', obstacles);
}

/** A worker that was ended in the middle of a test leaves its daemons to this. */
export async function teardown(): Promise<void> {
  await sweep();
}

async function sweep(): Promise<void> {
  await DaemonFolder.sweep();
  if (hasCgroupV1()) await sweepCgroups();
}

/** Installs what no suite can do without; gives why that did not work. */
async function installMissing(): Promise<string | undefined> {
  const missing = (Object.keys(debianPackages) as Program[]).filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) return undefined;
  if (!isDebian()) return 'not Debian';
  if (!isRoot) return 'not root';
  const packages = [...new Set(missing.map((program) => debianPackages[program]))];
  return withoutServices(async () => {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const update = await attempt('apt-get', ['update'], { env, timeoutMs: updateTimeoutMs });
    const args = ['install', '-y', '--no-install-recommends', ...packages];
    const install = await attempt('apt-get', args, { env, timeoutMs: installTimeoutMs });
    if (install.code === 0) return undefined;
    return `apt-get failed: ${(update.stderr + install.stderr).trim().split('\n').at(-1)}`;
  });
}

function isDebian(): boolean {
  try {
    return /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return false;
  }
}

function findObstacles(installFailure: string | undefined): Obstacles {
  const obstacles: Obstacles = {};
  for (const suite of Object.keys(requirements) as Suite[]) {
    const { programs, root, cgroupV1 }: Requirement = requirements[suite];
    const missing = programs.filter((program) => findProgram(program) === undefined);
    if (process.platform !== 'linux') obstacles[suite] = 'not Linux';
    else if (missing.length > 0)
      obstacles[suite] = `no ${missing.join(', ')}: ${installFailure ?? 'not in its package'}`;
    else if (root && !isRoot) obstacles[suite] = 'not root';
    else if (cgroupV1 === true && !hasCgroupV1()) obstacles[suite] = 'no cgroup v1';
  }
  return obstacles;
}
