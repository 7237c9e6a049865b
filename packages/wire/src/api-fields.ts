/** Fields that several calls of the tracker's API have. */
import { type BlobId, parseBlobId } from '@shoal/oci';
import { z } from 'zod';

export const blob = z.string().transform((text, context): BlobId => {
  const parsed = parseBlobId(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: 'custom', message: 'not a blob of a registry' });
  return z.NEVER;
});

export const sizeBytes = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
