/** A file of containerd's content store: which one it is, and whether it is still that one. containerd never writes to one in place. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Two files that agree in this are the same one, unchanged. What is read of it is compared with piece hashes as well. */
export interface FileStamp {
  inode: bigint;
  sizeBytes: bigint;
  modifiedNs: bigint;
}

export interface StampedFile {
  file: FileHandle;
  stamp: FileStamp;
}

/** @throws the system's error */
export async function openStamped(path: string): Promise<StampedFile> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return { file, stamp: await stampOf(file) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

export async function stampOf(file: FileHandle): Promise<FileStamp> {
  const { ino, size, mtimeNs } = await file.stat({ bigint: true });
  return { inode: ino, sizeBytes: size, modifiedNs: mtimeNs };
}

export function isSameFile(one: FileStamp, other: FileStamp): boolean {
  return one.inode === other.inode && one.sizeBytes === other.sizeBytes && one.modifiedNs === other.modifiedNs;
}
