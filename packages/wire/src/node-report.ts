/**
 * What an agent tells of itself for the people who look at the tracker's page: a part of the tracker's API
 * (`tracker-api.ts`). A tracker that has such a page says in its answers to announcements how often; others are told nothing.
 * Nothing that is decided for a pull depends on it, so that a report may be late, lost or wrong.
 *
 * | call          | request    | answer |
 * | ------------- | ---------- | ------ |
 * | POST /v1/node | NodeReport | {}     |
 */
import { z } from 'zod';
import { blob, sizeBytes as bytes } from './api-fields.ts';

/** Pulls told of at once, the oldest first. */
export const MAX_REPORTED_PULLS = 16;
/** No tracker wants reports more often. */
const MIN_REPORT_EVERY_MS = 500;
const MAX_REPORT_EVERY_MS: number = 10 * 60_000;
/** An agent of which nothing changes says so at least this often. */
export const REPORT_AGAIN_MS = 30_000;

/** What an agent is told in the answer to an announcement. One that is no such time counts as none. */
export const reportEveryMs = z.number().int().min(MIN_REPORT_EVERY_MS).max(MAX_REPORT_EVERY_MS);

/** `fromOrigin` and `fromPeers`: bytes of the pieces that came for this blob. `repository`: where it is read from, without the registry. */
const reportedPull = z.object({
  blob,
  repository: z.string().max(256).optional(),
  sizeBytes: bytes,
  heldBytes: bytes,
  fromOrigin: bytes,
  fromPeers: bytes,
});
export type ReportedPull = z.infer<typeof reportedPull>;

/** `bytes`: since the agent started. `links`: members connected now. */
export const nodeReportSchema = z.object({
  version: z.string().max(32),
  links: z.number().int().nonnegative().max(0xffff),
  pulls: z.array(reportedPull).max(MAX_REPORTED_PULLS),
  bytes: z.object({ fromOrigin: bytes, fromPeers: bytes, toPeers: bytes, toClients: bytes }),
  cache: z.object({ bytes, quotaBytes: bytes, blobs: bytes }),
});
export type NodeReport = z.infer<typeof nodeReportSchema>;
