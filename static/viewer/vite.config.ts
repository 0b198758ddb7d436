import { defineConfig } from "vite";

// `events` must be a dependency: without it the build passes and the page dies.
export default defineConfig({
  base: "/static/viewer/",
  worker: { format: "es" },
  build: {
    target: "es2022",
    manifest: "manifest.json",
    outDir: "dist",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 6000,
    rollupOptions: { input: "src/main.ts" },
  },
});
