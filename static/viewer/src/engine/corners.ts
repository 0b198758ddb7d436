// The small text in a cell's corners, and the scroll bar of a stack. None of it takes room from the image.
import type { Cell } from "../hanging";

export interface Told {
  width: number | null;
  centre: number | null;
  preset: string;
  zoom: number;
  index: number;
  count: number;
  depth: number | null; // mm along the stack
}

export class Corners {
  private readonly window: HTMLElement;
  private readonly place: HTMLElement;
  private readonly slider: HTMLInputElement | null = null;

  constructor(cellElement: HTMLElement, cell: Cell, go: (index: number) => void) {
    const corner = (where: string, text: string): HTMLElement => {
      const element = document.createElement("span");
      element.className = `corner ${where}`;
      element.textContent = text;
      cellElement.append(element);
      return element;
    };
    corner("title", cell.title);
    if (cell.when) corner("when", cell.when);
    this.window = corner("window", "");
    this.place = corner("place", "");
    const count = cell.stack.reduce((sum, ref) => sum + Math.max(ref.frames, 1), 0);
    if (count < 2) return;
    const slider = document.createElement("input");
    slider.type = "range";
    slider.className = "slices";
    slider.min = "1";
    slider.max = String(count);
    slider.setAttribute("aria-label", `Slice of ${cell.title}`);
    slider.oninput = () => { go(Number(slider.value) - 1); };
    cellElement.append(slider);
    this.slider = slider;
  }

  tell(now: Told): void {
    const whole = (value: number): string => (Math.abs(value) < 10 ? value.toFixed(1) : String(Math.round(value)));
    const window = now.width === null || now.centre === null ? "" : `W ${whole(now.width)} L ${whole(now.centre)}`;
    this.window.textContent = [now.preset, window, now.zoom > 1.005 ? `× ${now.zoom.toFixed(1)}` : ""].filter(Boolean).join(" · ");
    if (!this.slider) return;
    const depth = now.depth === null ? "" : `${now.depth.toFixed(1)} mm · `;
    this.place.textContent = `${depth}${now.index + 1} / ${now.count}`;
    this.slider.value = String(now.index + 1);
    this.slider.setAttribute("aria-valuetext", `${now.index + 1} of ${now.count}`);
  }
}
