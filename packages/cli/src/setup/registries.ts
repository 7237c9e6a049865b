/** Registries for runtimes that cannot be told "all". */
import { normaliseRegistryHost } from '@shoal/oci';
import { SetupProblem } from './plan.ts';

const USUAL = ['docker.io', 'ghcr.io', 'quay.io', 'registry.k8s.io', 'gcr.io', 'public.ecr.aws', 'mcr.microsoft.com'];

/** The usual ones, and those asked for, once each. @throws SetupProblem for what is no host */
export function withUsual(registries: readonly string[]): Set<string> {
  return new Set([...USUAL, ...registries.map(hostOf)]);
}

function hostOf(text: string): string {
  const host = normaliseRegistryHost(text);
  if (host === undefined) throw new SetupProblem(`--registry ${JSON.stringify(text)} is not a registry host`);
  return host;
}
