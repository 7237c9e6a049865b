/**
 * Platforms, and what an index offers for one. An index may name the same manifest for several platforms, attestations
 * (BuildKit gives them the platform `unknown/unknown`), and manifests of no platform at all.
 */
import type { Digest } from './digest.ts';
import { type Descriptor, manifestChildren } from './manifest.ts';

export interface Platform {
  /** e.g. `linux` */
  os: string;
  /** As Go names it: `amd64`, `arm64`, … */
  architecture: string;
  /** e.g. `v7`; empty when none is named. */
  variant: string;
}

export interface IndexEntry {
  descriptor: Descriptor;
  /** Undefined when the index does not say. */
  platform: Platform | undefined;
  /** Says something about another entry and is nothing to run. */
  isAttestation: boolean;
}

const PLATFORM = /^[a-z0-9]{1,32}\/[a-z0-9_]{1,32}(\/[a-z0-9.]{1,16})?$/;
const REFERENCE_TYPE = 'vnd.docker.reference.type';

/** Reads `linux/amd64` or `linux/arm/v7`. Returns undefined when the text is no platform. */
export function parsePlatform(text: string): Platform | undefined {
  if (!PLATFORM.test(text)) return undefined;
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return { os, architecture, variant };
}

export function platformText({ os, architecture, variant }: Platform): string {
  return variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** The manifests and blobs that an index names, in its order; undefined when the manifest is no index. @throws ManifestError */
export function indexEntries(bytes: Uint8Array): IndexEntry[] | undefined {
  const children = new Map<Digest, Descriptor>(manifestChildren(bytes).map((child) => [child.digest, child]));
  const { manifests } = JSON.parse(new TextDecoder().decode(bytes)) as { manifests?: unknown };
  if (!Array.isArray(manifests)) return undefined;
  return manifests.flatMap((value: Record<string, unknown>) => {
    const descriptor = children.get(value.digest as Digest);
    if (descriptor === undefined) return [];
    return [{ descriptor, platform: platformIn(value.platform), isAttestation: isAttestation(value) }];
  });
}

/**
 * The entries that a machine of this platform would run: those that fit best. Where none names the platform, those that name
 * no platform; none when every entry is for another one.
 */
export function entriesFor(entries: readonly IndexEntry[], wanted: Platform): IndexEntry[] {
  const images = entries.filter(({ isAttestation: says, descriptor }) => !says && descriptor.kind === 'manifest');
  const ranked = images.flatMap((entry) => {
    const rank = entry.platform === undefined ? undefined : rankOf(entry.platform, wanted);
    return rank === undefined ? [] : [{ entry, rank }];
  });
  if (ranked.length === 0) return images.filter(({ platform }) => platform === undefined);
  const best = Math.min(...ranked.map(({ rank }) => rank));
  // Windows names one image for each of its versions; which of them this machine has is not known here.
  return ranked.filter(({ rank }) => rank === best).map(({ entry }) => entry);
}

function platformIn(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { os, architecture, variant } = value as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
  return { os, architecture, variant: typeof variant === 'string' ? variant : '' };
}

function isAttestation({ annotations, platform }: Record<string, unknown>): boolean {
  const type = (annotations as Record<string, unknown> | null | undefined)?.[REFERENCE_TYPE];
  return type === 'attestation-manifest' || platformIn(platform)?.os === 'unknown';
}

/** 0 is the very same; undefined does not run there. A newer arm runs what was made for an older one. */
function rankOf(offered: Platform, wanted: Platform): number | undefined {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return undefined;
  const [has, wants] = [levelOf(offered), levelOf(wanted)];
  return has <= wants ? wants - has : undefined;
}

/** The number in a variant; what a platform without one means. */
function levelOf({ architecture, variant }: Platform): number {
  const usual = architecture === 'arm' ? 7 : architecture === 'arm64' ? 8 : 1;
  const level = Number(/^v(\d{1,2})/.exec(variant)?.[1]);
  return Number.isNaN(level) ? usual : level;
}
