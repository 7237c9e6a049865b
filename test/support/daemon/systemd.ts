import { run } from './process.ts';
import { requireProgram } from './programs.ts';

/** The settings of a unit that may stand several times, in their order. */
export function settingsOf(unit: string, name: string): string[] {
  return unit.split('\n').flatMap((line) => (line.startsWith(`${name}=`) ? [line.slice(name.length + 1)] : []));
}

/**
 * What a unit's SystemCallFilter lets through, as a seccomp profile for a container engine: so that a program can be seen to live
 * with it where no systemd runs. Lines without `~` add, those with it take away.
 */
export async function seccompProfileOf(unit: string): Promise<object> {
  const allowed = new Set<string>();
  for (const filter of settingsOf(unit, 'SystemCallFilter')) {
    const isTakenAway = filter.startsWith('~');
    for (const name of await systemCalls(filter.replace('~', '').split(' '))) {
      if (isTakenAway) allowed.delete(name);
      else allowed.add(name);
    }
  }
  const errnoOfPermission = 1;
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: errnoOfPermission,
    syscalls: [{ names: [...allowed].sort(), action: 'SCMP_ACT_ALLOW' }],
  };
}

/** Sets such as `@system-service` hold others. */
async function systemCalls(names: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const name of names) {
    if (!name.startsWith('@')) {
      found.push(name);
      continue;
    }
    const listed = await run(requireProgram('systemd-analyze'), ['syscall-filter', '--no-pager', name]);
    const lines = listed.split('\n').flatMap((line) => (/^ +[@a-z_]/.test(line) ? [line.trim()] : []));
    found.push(...(await systemCalls(lines)));
  }
  return found;
}
