// What a test needs of a package is its programs: its services are not wanted, now or after the next boot of the machine.
import { existsSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt */
const POLICY_FILE = '/usr/sbin/policy-rc.d';
const NO_SERVICE = '#!/bin/sh\nexit 101\n';
/** Where systemd keeps what is enabled, as links. */
const ENABLED_UNITS = '/etc/systemd/system';

/** Runs an installation: packages do not start their services meanwhile, and those that they enable are disabled afterwards. */
export async function withoutServices<T>(install: () => Promise<T>): Promise<T> {
  const before = new Set(await enabledUnits());
  const hasPolicy = existsSync(POLICY_FILE);
  if (!hasPolicy) await writeFile(POLICY_FILE, NO_SERVICE, { mode: 0o755, flag: 'wx' });
  try {
    return await install();
  } finally {
    if (!hasPolicy) await rm(POLICY_FILE, { force: true });
    for (const link of await enabledUnits()) if (!before.has(link)) await rm(link, { force: true });
  }
}

async function enabledUnits(): Promise<string[]> {
  const entries = await readdir(ENABLED_UNITS, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isSymbolicLink()).map(({ parentPath, name }) => join(parentPath, name));
}
