import { expect, test } from 'vitest';
import { rewriteLink } from './relay-answer.ts';

test('a link to another host leads back to the same path, with the new query', () => {
  const route = { path: '/v2/ghcr.io/org/app/tags/list', namespace: undefined };
  const link = '<https://ghcr.io/v2/org/app/tags/list?last=x%2Fy&n=0>; rel="next"';
  expect(rewriteLink(link, route)).toBe('</v2/ghcr.io/org/app/tags/list?last=x%2Fy&n=0>; rel="next"');
});
