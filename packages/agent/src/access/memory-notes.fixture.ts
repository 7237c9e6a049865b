import type { BlobStore } from '../store/blob-store.ts';

/** The store's notes, in memory. */
export function memoryNotes(): BlobStore['notes'] & { readonly held: Map<string, string> } {
  const held = new Map<string, string>();
  return {
    held,
    get: async (key) => held.get(key),
    put: async (key, value) => void held.set(key, value),
    delete: async (key) => void held.delete(key),
    async *entries(prefix) {
      for (const [key, value] of [...held].sort()) if (key.startsWith(prefix)) yield [key, value];
    },
  };
}
