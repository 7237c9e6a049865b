/** Starting a process is all CPU; more at once only makes each of them late. */
const PARALLEL_STARTS = 2;

/** Does `work` for every item, two at a time, in their order. */
export async function inLanes<T>(items: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      await work(items[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_STARTS }, lane));
}
