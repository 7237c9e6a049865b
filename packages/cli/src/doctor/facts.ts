/**
 * What the checks judge. An agent that runs tells it (`POST /v1/check`); without one the same is found out here, from the settings,
 * as far as it can be.
 */
import { z } from 'zod';
import { oneLine } from '../command-failure.ts';

const text = z.string().transform(oneLine);

const trackerSchema = z.object({
  url: text,
  /** `ok`, or why not: the tracker's own code, or `UNREACHABLE`, `WRONG_PIN`, `TIMEOUT`, `BAD_ANSWER`. */
  outcome: text,
  message: text,
  aheadMs: z.number().optional(),
});
export type TrackerFact = z.infer<typeof trackerSchema>;

/** An agent that speaks no version of the protocol that this one does. */
export const strangerSchema = z.object({ peerId: text.optional(), host: text, versions: z.array(text).optional() });
export type Stranger = z.infer<typeof strangerSchema>;

const peersSchema = z.object({
  listen: z.array(text),
  announced: z.array(text),
  answering: z.array(text),
  outbound: z.number(),
  inbound: z.number(),
  inboundSoFar: z.number(),
  /** Members that were asked to dial this agent back. These three are not told by an agent of an earlier version. */
  dialledBack: z
    .array(
      z.object({
        peerId: text,
        zone: text,
        outcome: z.enum(['answered', 'unsupported', 'refused', 'failed']),
        tried: z.array(z.object({ address: text, reached: z.boolean() })),
      }),
    )
    .default([]),
  strangers: z.array(strangerSchema).default([]),
  /** Of the protocol, as this agent speaks it. */
  versions: z.array(text).default([]),
});

const dataSchema = z.object({
  path: text,
  exists: z.boolean(),
  freeBytes: z.number(),
  totalBytes: z.number(),
  problem: text.optional(),
  /** Undefined when no agent runs to tell. */
  cacheBytes: z.number().optional(),
  quotaBytes: z.number(),
  minFreeBytes: z.number(),
});
export type DataFacts = z.infer<typeof dataSchema>;

/** What an agent tells of the containerd whose content it shares. */
export const containerdSchema = z.object({
  socket: text,
  /** `connecting`, `listed`, `unreachable` or `unreadable`. */
  state: text,
  folder: text.optional(),
  problem: text.optional(),
  /** Shared now. */
  blobs: z.number(),
  bytes: z.number(),
  /** To be hashed before they are shared. */
  waiting: z.number(),
  /** Not what their names say. */
  wrong: z.number(),
  unreadable: z.number(),
});
export type ContainerdFacts = z.infer<typeof containerdSchema>;

export const agentFactsSchema = z.object({
  version: text,
  upSeconds: z.number(),
  zone: text,
  mirror: text,
  /** Whether systemd holds the mirror's socket (`shoal-agent.socket`). */
  mirrorHandedOver: z.boolean().default(false),
  peers: peersSchema,
  trackers: z.array(trackerSchema),
  trackerReachable: z.boolean(),
  members: z.number(),
  membershipExpiresAtMs: z.number().optional(),
  containerd: containerdSchema.optional(),
  data: dataSchema,
  registries: z.array(z.object({ registry: text, url: text.optional() })),
});
/** Of an agent that runs. */
export type AgentFacts = z.infer<typeof agentFactsSchema>;

export const registryFactSchema = z.object({
  registry: text,
  url: text.optional(),
  /** `open`, `anonymous`, `accepted`, `denied`, `wanted`; else why it could not be asked. */
  outcome: text,
  message: text.optional(),
  cause: text.optional(),
  status: z.number().optional(),
  limit: z.object({ remaining: z.number(), limit: z.number().optional() }).optional(),
});
export type RegistryFact = z.infer<typeof registryFactSchema>;

/** A port that this machine's agent takes, or would take. */
export interface PortFact {
  /** The setting: `mirror`, `peer-listen`, `admin`. */
  readonly setting: string;
  readonly host: string;
  readonly port: number;
  /** Whether systemd holds it, so that clients wait for an agent that restarts. */
  readonly isHandedOver?: boolean;
}
