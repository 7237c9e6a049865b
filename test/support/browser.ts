/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
// A real browser: Debian's chromium, without a window, that reaches nothing but what a test gives it.
import { type Browser, chromium, type Page } from 'playwright-core';
import { requireProgram } from './daemon/programs.ts';

export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({ executablePath: requireProgram('chromium'), args: ['--no-sandbox'] });
}

/** Pieces of text that a reader of this page does not see whole or cannot make out, each with why. */
export async function unreadableTexts(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    const LEAST_CONTRAST = 4.5;
    const channels = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number);
    // https://www.w3.org/TR/WCAG21/#dfn-relative-luminance
    const luminance = (color: string): number => {
      const [red = 0, green = 0, blue = 0] = channels(color)
        .map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const contrast = (one: string, other: string): number => {
      const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
      return (light + 0.05) / (dark + 0.05);
    };
    const paperOf = (element: Element | null): string => {
      for (let at = element; at !== null; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if (channels(backgroundColor)[3] !== 0) return backgroundColor;
      }
      return 'rgb(255, 255, 255)';
    };
    // Clipped away: for readers of the screen alone.
    const isForEars = (element: Element | null): boolean => {
      for (let at = element; at !== null; at = at.parentElement) {
        if (getComputedStyle(at).clipPath === 'inset(50%)') return true;
      }
      return false;
    };
    const found: string[] = [];
    const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = words.nextNode(); node !== null; node = words.nextNode()) {
      const element = node.parentElement;
      const text = node.textContent?.trim() ?? '';
      if (element === null || text === '' || element.closest('style, script, title, desc') !== null) continue;
      if (isForEars(element)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const { left, right, top, width } = range.getBoundingClientRect();
      if (width === 0) continue;
      const scrolls = element.closest('.wide') !== null;
      if (!scrolls && (left < 0 || right > innerWidth || top + scrollY < 0)) found.push(`${text}: cut off`);
      const { color, fill } = getComputedStyle(element);
      const ink = element instanceof SVGElement ? fill : color;
      const ratio = contrast(ink, paperOf(element));
      if (ratio < LEAST_CONTRAST) found.push(`${text}: ${ink} on ${paperOf(element)} is ${ratio.toFixed(1)} : 1`);
    }
    return found;
  });
}

/** Texts of a drawing that lie on each other. */
export async function overlappingTexts(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    const found: string[] = [];
    for (const svg of document.querySelectorAll('svg')) {
      const texts = [...svg.querySelectorAll('text')].map((text) => ({
        words: text.textContent ?? '',
        box: text.getBoundingClientRect(),
      }));
      for (const [place, { words, box }] of texts.entries()) {
        for (const other of texts.slice(place + 1)) {
          const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
          const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
          if (across > 2 && down > 4) found.push(`${words} / ${other.words}`);
        }
      }
    }
    return found;
  });
}

/** By how many pixels the page, or a part of it, is wider than what is seen of it; 0 when it fits. */
export async function overflowPixels(page: Page, selector = 'html'): Promise<number> {
  return await page.locator(selector).evaluate((element) => Math.max(0, element.scrollWidth - element.clientWidth));
}
