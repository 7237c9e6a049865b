import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { requireProgram } from '../daemon/programs.ts';
import { packTar } from '../daemon/tar.ts';

/**
 * The image whose container holds a pod's namespaces, as an archive for `ctr images import`: Debian's static busybox, asleep.
 * Shape: https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
 */
export async function pauseImage(name: string): Promise<Buffer> {
  const busybox = await readFile(requireProgram('busybox'));
  const layer = packTar([{ kind: 'file', name: 'busybox', content: busybox, mode: 0o755 }]);
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = {
    ...{ os: 'linux', architecture },
    config: { Entrypoint: ['/busybox', 'sleep', '2147483647'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] },
  };
  const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: ['layer.tar'] }];
  return packTar([
    { kind: 'file', name: 'manifest.json', content: Buffer.from(JSON.stringify(manifest)) },
    { kind: 'file', name: 'config.json', content: Buffer.from(JSON.stringify(config)) },
    { kind: 'file', name: 'layer.tar', content: layer },
  ]);
}
