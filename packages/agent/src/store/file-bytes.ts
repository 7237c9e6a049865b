/** Exact reads and writes at an offset: a short transfer is repeated, an end of file is an error. */
import type { FileHandle } from 'node:fs/promises';
import { StoreError } from './blob-store.ts';
import { storeErrorFrom } from './failure.ts';

/** @throws StoreError io when the file ends early or cannot be read */
export async function readExactly(file: FileHandle, into: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, offset + done).catch((error: unknown) => {
      throw new StoreError('io', `cannot read: ${String(error)}`, { cause: error });
    });
    if (bytesRead === 0)
      throw new StoreError('io', `the file ends at ${offset + done}, before ${offset + into.length}`);
    done += bytesRead;
  }
}

/** @throws StoreError disk-full, io */
export async function writeExactly(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    try {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    } catch (error) {
      throw storeErrorFrom(error, 'cannot write');
    }
  }
}
