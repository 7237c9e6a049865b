import { expect, test } from 'vitest';
import { Audit } from './audit.ts';
import { seededRandom } from './random.ts';

test('one piece of every signer comes before a second of any, own readings never', () => {
  const signers = [undefined, 'a', 'a', 'b', 'a', 'c', undefined, 'b'];
  const audit = new Audit(signers, seededRandom(1));
  const order: number[] = [];
  for (let index = audit.next(); index !== undefined; index = audit.next()) order.push(index);
  expect(
    order
      .slice(0, 3)
      .map((index) => signers[index])
      .sort(),
  ).toEqual(['a', 'b', 'c']);
  expect([...order].sort()).toEqual([1, 2, 3, 4, 5, 7]);
});

test('with nothing signed by others there is nothing to audit', () => {
  expect(new Audit([undefined, undefined], seededRandom(1)).next()).toBeUndefined();
});
