// Which heat map is shown over the views of a case, and how.
import { matrix, type Matrix } from "../api";
import type { Stage } from "../engine/stage";
import type { Run } from "../types";
import type { HeatState } from "../ui/model";

export class HeatMaps {
  state: HeatState = {
    on: false, run: null, image: null, index: 0, row: 64, opacity: 0.55, threshold: 0.1, smooth: true, map: "inferno", present: false, probe: null,
  };
  private readonly matrices = new Map<string, Promise<Matrix>>();

  constructor(private readonly stage: Stage) {}

  /** Another case: off, but as it was set. */
  clear(): void {
    this.state = { ...this.state, on: false, run: null, image: null, probe: null };
  }

  /** Draw the focused image's map, and those of the other views, where it is on. */
  async show(runs: Run[], overlays: boolean): Promise<void> {
    const run = runs.find((r) => r.function.output_type === "heatmap") ?? null;
    const uid = this.stage.focused()?.current()?.sop_uid;
    const image = run?.images.find((i) => i.sop_uid === uid) ?? run?.images[0] ?? null;
    if (run !== this.state.run && image) {
      const best = Object.entries(image.global).sort((a, b) => b[1] - a[1])[0]?.[0];
      this.state = { ...this.state, index: Math.max(0, image.classes.indexOf(best ?? "")) };
    }
    this.state = { ...this.state, run, image };
    for (const view of this.stage.views) {
      const target = run?.images.find((i) => i.sop_uid === view.current()?.sop_uid);
      if (!this.state.on || !overlays || !target) {
        view.setHeat(null);
        continue;
      }
      const path = `${target.matrix}#${this.state.row}`;
      if (!this.matrices.has(path)) this.matrices.set(path, matrix(target.matrix, this.state.row));
      const data = await this.matrices.get(path);
      if (data) {
        view.setHeat({ ...this.state, matrix: data });
        view.repaint();
      }
    }
  }

  /** Read the value under a place of a view; whether there is a map to read. */
  probe(id: string, x: number, y: number): boolean {
    if (!this.state.on) return false;
    this.state = { ...this.state, probe: this.stage.views.find((v) => v.id === id)?.probe(x, y) ?? null };
    return true;
  }
}
