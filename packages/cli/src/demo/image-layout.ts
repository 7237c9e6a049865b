/**
 * Writes an OCI image layout: blobs under their digests, a config, a manifest, and an index that names it by tag.
 * https://github.com/opencontainers/image-spec/blob/main/image-layout.md
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '@shoal/oci';
import { type LayerEntry, type WrittenBlob, writeBlob, writeLayer } from './layer.ts';

/** The annotation of `index.json` that carries a manifest's tag. */
export const TAG_ANNOTATION = 'org.opencontainers.image.ref.name';

export interface PlannedLayer {
  /** One line for the image's history: where these files come from. */
  origin: string;
  entries: readonly LayerEntry[];
}

export interface ImagePlan {
  tag: string;
  /** `amd64`, `arm64`: Go's names, as registries use them. */
  architecture: string;
  os: string;
  layers: readonly PlannedLayer[];
  entrypoint: readonly string[];
  environment: Readonly<Record<string, string>>;
  workingFolder: string;
  labels: Readonly<Record<string, string>>;
}

export interface WrittenImage {
  folder: string;
  tag: string;
  manifest: WrittenBlob;
  config: WrittenBlob;
  layers: readonly WrittenBlob[];
  /** Manifest, config and layers: what one pull moves. */
  totalBytes: number;
}

export async function writeImage(folder: string, plan: ImagePlan, signal?: AbortSignal): Promise<WrittenImage> {
  await mkdir(folder, { recursive: true });
  const layers: WrittenBlob[] = [];
  for (const layer of plan.layers) layers.push(await writeLayer(layer.entries, folder, signal));
  const config = await writeBlob([json(configOf(plan, layers))], folder, OCI_CONFIG, signal);
  const manifest = await writeBlob([json(manifestOf(config, layers))], folder, OCI_MANIFEST, signal);
  await writeFile(join(folder, 'index.json'), json(indexOf(plan, manifest)));
  await writeFile(join(folder, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  const totalBytes = [manifest, config, ...layers].reduce((sum, blob) => sum + blob.sizeBytes, 0);
  return { folder, tag: plan.tag, manifest, config, layers, totalBytes };
}

function configOf(plan: ImagePlan, layers: readonly WrittenBlob[]): object {
  return {
    created: new Date(0).toISOString(),
    architecture: plan.architecture,
    os: plan.os,
    config: {
      Env: Object.entries(plan.environment).map(([name, value]) => `${name}=${value}`),
      Entrypoint: plan.entrypoint,
      WorkingDir: plan.workingFolder,
      Labels: plan.labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: plan.layers.map((layer) => ({ created: new Date(0).toISOString(), created_by: layer.origin })),
  };
}

function manifestOf(config: WrittenBlob, layers: readonly WrittenBlob[]): object {
  return {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptor(config),
    layers: layers.map(descriptor),
  };
}

function indexOf(plan: ImagePlan, manifest: WrittenBlob): object {
  const platform = { architecture: plan.architecture, os: plan.os };
  const annotations = { [TAG_ANNOTATION]: plan.tag };
  return { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ ...descriptor(manifest), platform, annotations }] };
}

function descriptor(blob: WrittenBlob): object {
  return { mediaType: blob.mediaType, digest: blob.digest, size: blob.sizeBytes };
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}
