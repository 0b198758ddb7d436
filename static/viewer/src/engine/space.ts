// Images by id: addresses, metadata and coordinates.
import { metaData, utilities } from "@cornerstonejs/core";
import { utilities as metadataUtilities } from "@cornerstonejs/metadata";

import type { Space, World } from "../marks";
import type { ImageRef, Point } from "../types";
import { depth, IMAGER_SPACING, PATIENT_POSITION, PIXEL_SPACING, withoutZeroSpacing, type Json } from "./geometry";


/** What lengths on an image are: true millimetres, millimetres at the detector (projection, PS3.3 10.7), or pixels. */
export type Unit = "mm" | "mm at detector" | "px";
const units = new Map<string, Unit>();
export const unitOf = (imageId: string): Unit => units.get(imageId) ?? "px";

export class Images implements Space {
  private readonly byId = new Map<string, { ref: ImageRef; frame: number; patient: boolean; depth: number | null }>();

  id(ref: ImageRef, frame = 1): string {
    const path = `/dicomweb/studies/${ref.study_uid}/series/${ref.series_uid}/instances/${ref.sop_uid}/frames/${frame}`;
    return `wadors:${location.origin}${path}`;
  }

  /** Fetch the metadata of these images' studies and hand it to the loader, once an instance. */
  async learn(refs: ImageRef[]): Promise<void> {
    const wanted = new Map(refs.map((ref) => [ref.sop_uid, ref]));
    for (const study of new Set(refs.map((ref) => ref.study_uid))) {
      const answer = await fetch(`/dicomweb/studies/${study}/metadata`, {
        headers: { Accept: "application/dicom+json" },
        credentials: "same-origin",
      });
      const kind = answer.headers.get("Content-Type") ?? "";
      if (!answer.ok || !kind.includes("json")) throw new Error(`The scan's description could not be fetched (${answer.status}).`);
      for (const told of (await answer.json()) as Json[]) {
        const json = withoutZeroSpacing(told);
        const ref = wanted.get(String(json["00080018"]?.Value?.[0] ?? ""));
        if (!ref) continue;
        for (let frame = 1; frame <= Math.max(ref.frames, 1); frame++) {
          const id = this.id(ref, frame);
          await metadataUtilities.addDicomWebInstance(id, json as never);
          const value = (tag: string): boolean => Boolean(json[tag]?.Value?.length);
          units.set(id, value(PIXEL_SPACING) ? "mm" : value(IMAGER_SPACING) ? "mm at detector" : "px");
          this.byId.set(id, { ref, frame, patient: Boolean(json[PATIENT_POSITION]?.Value?.length), depth: depth(json) });
        }
      }
    }
  }

  /** Image ids of a stack from one end to the other: by place where every slice says it, else as they are numbered. */
  ids(stack: ImageRef[]): string[] {
    const ids = stack.flatMap((ref) => Array.from({ length: Math.max(ref.frames, 1) }, (_, n) => this.id(ref, n + 1)));
    const placed = stack.every((ref) => ref.frames <= 1) && ids.every((id) => this.depth(id) !== null);
    return placed ? ids.sort((a, b) => (this.depth(a) ?? 0) - (this.depth(b) ?? 0)) : ids;
  }

  depth(imageId: string): number | null {
    return this.byId.get(imageId)?.depth ?? null;
  }

  ref(imageId: string): ImageRef | null {
    return this.byId.get(imageId)?.ref ?? null;
  }

  imageId(sopUid: string, frame: number): string | null {
    for (const [id, entry] of this.byId) if (entry.ref.sop_uid === sopUid && entry.frame === frame) return id;
    return null;
  }

  image(imageId: string): ReturnType<Space["image"]> {
    const found = this.byId.get(imageId);
    if (!found) return null;
    const { sop_uid: sopUid, columns, rows } = found.ref;
    return { sopUid, frame: found.frame, patient: found.patient, columns, rows, metric: unitOf(imageId) !== "px" };
  }

  toWorld(imageId: string, point: Point): World {
    return utilities.imageToWorldCoords(imageId, point) as World;
  }

  toImage(imageId: string, world: World): Point {
    return utilities.worldToImageCoords(imageId, world) as Point;
  }

  frameOfReference(imageId: string): string {
    const plane = metaData.get("imagePlaneModule", imageId) as { frameOfReferenceUID?: string } | undefined;
    return plane?.frameOfReferenceUID ?? "";
  }
}
