// Cornerstone, started once: loaders with checks, CPU rendering where there is no graphics card.
import * as core from "@cornerstonejs/core";
import { init as loaderInit } from "@cornerstonejs/dicom-image-loader";
import * as tools from "@cornerstonejs/tools";

import { unitOf } from "./space";

export const GROUP = "room";

export interface Started {
  cpu: boolean;
  notice: string;
}

/** Whether images are better drawn by the processor, and the words to say so. */
export function graphics(): Started {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return { cpu: true, notice: "This browser has no WebGL 2: images are drawn by the processor, more slowly." };
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = info ? String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)) : "";
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return { cpu: /swiftshader|llvmpipe|software|basic render/i.test(name), notice: "" };
}

/** Errors that the server answers must not be decoded as pixels. */
async function checked(xhr: XMLHttpRequest): Promise<ArrayBuffer> {
  const kind = xhr.getResponseHeader("Content-Type") ?? "";
  if (xhr.status !== 200 || !/multipart\/related|octet-stream|image\//.test(kind)) {
    throw new Error(`The image could not be fetched (${xhr.status} ${kind}).`);
  }
  return xhr.response as ArrayBuffer;
}

/** The reader's own marks: their hue from the tokens, solid lines, small text. */
function style(): void {
  const read = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const mine = read("--mark-mine");
  const { config } = tools.annotation;
  const before = config.style.getDefaultToolStyles() as { global?: object };
  config.style.setDefaultToolStyles({
    ...before,
    global: {
      ...before.global,
      color: mine, colorHighlighted: read("--text"), colorSelected: mine, lineWidth: "2", lineWidthSelected: "3",
      textBoxFontSize: "12px", textBoxColor: mine, textBoxColorHighlighted: mine, textBoxColorSelected: mine,
    },
  } as never);
}

let started: Promise<Started> | null = null;

export function start(): Promise<Started> {
  started ??= (async () => {
    const found = graphics();
    core.init();
    if (found.cpu) core.setUseCPURendering(true);
    loaderInit({
      maxWebWorkers: Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1)),
      beforeProcessing: checked,
    });
    tools.init();
    for (const tool of [
      tools.WindowLevelTool, tools.ZoomTool, tools.PanTool, tools.StackScrollTool, tools.MagnifyTool,
      tools.LengthTool, tools.RectangleROITool, tools.EllipticalROITool, tools.PlanarFreehandROITool, tools.ArrowAnnotateTool,
    ]) tools.addTool(tool);
    const group = tools.ToolGroupManager.createToolGroup(GROUP);
    if (!group) throw new Error("the tools could not be set up");
    for (const name of ["WindowLevel", "Zoom", "Pan", "StackScroll", "Magnify"]) group.addTool(name);
    group.addTool("Length", {
      getTextLines: (data: { cachedStats?: Record<string, { length?: number }> }, target: string) => {
        const length = data.cachedStats?.[target]?.length;
        const unit = unitOf(target.replace(/^imageId:/, ""));
        return length === undefined ? [] : [`${length.toFixed(1)} ${unit}`];
      },
    });
    // numbers beside a region would cover the image; the panel names what was measured
    const silent = { getTextLines: () => [] };
    for (const name of ["RectangleROI", "EllipticalROI"]) group.addTool(name, silent);
    group.addTool("PlanarFreehandROI", { subPixelResolution: 0.25, calculateStats: true, ...silent });
    style();
    // the tool would ask by a browser prompt
    const text = { getTextCallback: (done: (t: string) => void) => { done(" "); }, changeTextCallback: () => undefined };
    group.addTool("ArrowAnnotate", text);
    for (const name of ["Length", "RectangleROI", "EllipticalROI", "PlanarFreehandROI", "ArrowAnnotate"]) {
      group.setToolPassive(name); // else restored marks are not drawn
    }
    const { MouseBindings } = tools.Enums;
    group.setToolActive("WindowLevel", { bindings: [{ mouseButton: MouseBindings.Primary }] });
    group.setToolActive("Pan", { bindings: [{ mouseButton: MouseBindings.Auxiliary }] });
    group.setToolActive("Zoom", { bindings: [{ mouseButton: MouseBindings.Secondary }] });
    group.setToolActive("StackScroll", { bindings: [{ mouseButton: MouseBindings.Wheel }] });
    return found;
  })();
  return started;
}

const ACTIVE: Record<string, string> = {
  window: "WindowLevel",
  zoom: "Zoom",
  pan: "Pan",
  magnify: "Magnify",
  length: "Length",
  rectangle: "RectangleROI",
  ellipse: "EllipticalROI",
  freehand: "PlanarFreehandROI",
  arrow: "ArrowAnnotate",
};

/** Put one tool under the left mouse button. */
export function activate(tool: string): void {
  const group = tools.ToolGroupManager.getToolGroup(GROUP);
  const name = ACTIVE[tool];
  if (!group || !name) return;
  const { MouseBindings } = tools.Enums;
  const before = group.getActivePrimaryMouseButtonTool();
  if (before && before !== name) {
    group.setToolPassive(before, { removeAllBindings: [{ mouseButton: MouseBindings.Primary }] });
    if (before === "Pan") group.setToolActive("Pan", { bindings: [{ mouseButton: MouseBindings.Auxiliary }] });
    if (before === "Zoom") group.setToolActive("Zoom", { bindings: [{ mouseButton: MouseBindings.Secondary }] });
  }
  group.setToolActive(name, { bindings: [{ mouseButton: MouseBindings.Primary }] });
}
