import { seededRandom } from '@shoal/swarm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MarkedList, type Placed } from './marked-list.ts';

interface Item extends Placed {
  name: number;
}

const step = fc.record({ kind: fc.constantFrom('add', 'delete', 'mark', 'unmark'), name: fc.nat(9) });

test('after any changes it draws exactly its items, or its marked ones, each once', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, seed) => {
      const items = Array.from({ length: 10 }, (_, name): Item => ({ name, at: -1 }));
      const list = new MarkedList<Item>();
      const expected = new Map<number, boolean>();
      for (const { kind, name } of steps) {
        const item = items[name]!;
        if (kind === 'add' && !expected.has(name)) {
          list.add(item);
          expected.set(name, false);
        } else if (kind === 'delete' && expected.delete(name)) {
          list.delete(item);
        } else if (kind !== 'add' && kind !== 'delete' && expected.has(name)) {
          list.mark(item, kind === 'mark');
          expected.set(name, kind === 'mark');
        }
      }
      const drawn = (onlyMarked: boolean) => [...list.draw(seededRandom(seed), onlyMarked)].map(({ name }) => name);
      const marked = [...expected].filter(([, isMarked]) => isMarked).map(([name]) => name);
      expect(drawn(false).toSorted()).toEqual([...expected.keys()].toSorted());
      expect(drawn(true).toSorted()).toEqual(marked.toSorted());
      expect([list.size, list.markedSize]).toEqual([expected.size, marked.length]);
      for (const [name, isMarked] of expected) expect(list.isMarked(items[name]!)).toBe(isMarked);
    }),
  );
});

test('every item is as likely to come first as any other', () => {
  const list = new MarkedList<Item>();
  for (let name = 0; name < 10; name++) list.add({ name, at: -1 });
  const random = seededRandom(1);
  const counts = new Array<number>(10).fill(0);
  for (let turn = 0; turn < 10_000; turn++) {
    const [first] = list.draw(random, false);
    counts[first!.name]!++;
  }
  for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});
