/** How long an answer about a tag is as good as the registry's own, by registry. */
export interface TagPolicy {
  /** An answer younger than this is given without asking the registry; 0: it is always asked. */
  freshMs: number;
  /** While the registry cannot be asked, an answer older than this is not given; 0: none is. */
  maxStaleMs: number;
}

export type TagPolicies = (registry: string) => TagPolicy;
