/**
 * Which registry gave containerd a blob, as far as its labels are evidence of it.
 *
 * containerd labels content with the registry of every image that *names* it, also when it had the content already and never
 * asked that registry for it. A registry may name what only another one has; so a second label proves nothing, and content that
 * lay there without any may be an image that was built or imported here. What is believed:
 *
 *   one registry                     it is that registry's
 *   others beside one seen before    it stays that registry's
 *   several at first sight           nobody can tell: not shared
 *   none for a while, then one       not shared
 *
 * Labels of all namespaces count together: containerd gives one namespace the content of another without asking a registry.
 */
import { type Digest, normaliseRegistryHost } from '@shoal/oci';

/** https://github.com/containerd/containerd/blob/main/labels/labels.go: its value lists repositories. */
/** In front of what is no host: such a registry shares nothing. */
const NO_HOST = '?';
const SOURCE_LABEL = 'containerd.io/distribution.source.';
/** containerd labels what it pulled within moments. */
const LABELLED_WITHIN_MS: number = 15_000;

/** The registries that labels name, normalised. A host that cannot be is named as it stands: it is somebody, too. */
export function registriesOf(labels: Readonly<Record<string, string>>): string[] {
  return Object.keys(labels).flatMap((key) => {
    if (!key.startsWith(SOURCE_LABEL)) return [];
    const host = key.slice(SOURCE_LABEL.length);
    return normaliseRegistryHost(host) ?? `${NO_HOST}${host}`;
  });
}

export interface Labelled {
  registries: ReadonlySet<string>;
  /** Milliseconds since 1970. */
  createdAtMs: number;
}

/** A registry; that it is nobody's; or that no label was seen yet. */
type Verdict = string | 'nobody' | 'unlabelled';

export class Provenance {
  #known = new Map<Digest, Verdict>();

  /** The registry that each of these is from. Others are forgotten: should they come again, they are new. */
  judge(content: ReadonlyMap<Digest, Labelled>, nowMs: number): Map<Digest, string> {
    const known = new Map<Digest, Verdict>();
    const from = new Map<Digest, string>();
    for (const [digest, labelled] of content) {
      const judged = judge(labelled, this.#known.get(digest), nowMs);
      known.set(digest, judged);
      if (labelled.registries.has(judged)) from.set(digest, judged);
    }
    this.#known = known;
    return from;
  }
}

function judge({ registries, createdAtMs }: Labelled, before: Verdict | undefined, nowMs: number): Verdict {
  if (before !== undefined && before !== 'unlabelled') return before;
  const [first] = registries;
  const isOld = nowMs - createdAtMs > LABELLED_WITHIN_MS;
  if (first === undefined) return isOld ? 'nobody' : 'unlabelled';
  const isLate = before === 'unlabelled' && isOld;
  return registries.size > 1 || isLate || first.startsWith(NO_HOST) ? 'nobody' : first;
}
