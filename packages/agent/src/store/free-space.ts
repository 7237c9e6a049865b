import { statfs } from 'node:fs/promises';

/** Bytes that this user may still write on the disk that holds `folder`. */
export async function freeDiskBytes(folder: string): Promise<number> {
  const disk = await statfs(folder);
  return disk.bavail * disk.bsize;
}
