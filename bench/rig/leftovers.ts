// Removes what runs that were killed have left: their namespaces with all processes inside, their folders.
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Namespace } from './namespace.ts';
import { RigName } from './rig-name.ts';

export async function removeLeftovers(): Promise<void> {
  const namespaces = (await Namespace.all()).filter(({ name }) => isLeftover(name));
  await Promise.all(namespaces.map((namespace) => namespace.remove()));
  const folders = (await readdir(tmpdir())).filter(isLeftover);
  await Promise.all(folders.map((name) => rm(join(tmpdir(), name), { recursive: true, force: true })));
}

function isLeftover(name: string): boolean {
  return RigName.of(name)?.isRunning === false;
}
