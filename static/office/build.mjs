// Bundles the office's scripts: app.js on every page, charts.js only where there is a plot.
import { context } from "esbuild";
import { rmSync } from "node:fs";

const out = "../site/dist";
rmSync(out, { recursive: true, force: true });
const job = await context({
  entryPoints: ["src/app.js", "src/charts.js"],
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  outdir: out,
  logLevel: "info",
  legalComments: "linked",
});
if (process.argv.includes("--watch")) {
  await job.watch();
} else {
  await job.rebuild();
  await job.dispose();
}
