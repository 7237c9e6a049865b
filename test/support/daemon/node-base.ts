import { copyFile, mkdir, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { sharedLibrariesOf } from '@shoal/cli';
import { DaemonFolder } from './daemon-folder.ts';
import type { Dockerd } from './dockerd.ts';
import { run } from './process.ts';

// What stands in for the public image with Node that Shoal's own is built on: the Node of this test and the libraries it loads,
// nothing else. So an image that needs a shell, curl or a user database of its base fails here.

/** Gives the engine this base image under a name. */
export async function importNodeBase(dockerd: Dockerd, name: string): Promise<void> {
  await using folder = await DaemonFolder.create('base');
  const node = await realpath(process.execPath);
  const libraries = await sharedLibrariesOf(node);
  const files = [[node, '/usr/local/bin/node'], ...libraries.map((path) => [path, path])] as [string, string][];
  for (const [from, to] of files) {
    const target = folder.join('root', to);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(from, target);
  }
  await mkdir(folder.join('root/tmp'), { mode: 0o1777 });
  const archive = folder.join('base.tar');
  await run('tar', ['--create', '--file', archive, '--directory', folder.join('root'), '--owner=0', '--group=0', '.']);
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  await dockerd.docker(['import', '--change', `ENV PATH=${path}`, archive, name]);
}
