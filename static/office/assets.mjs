// Copies what is committed from the packages that make it: the font, and an SVG sprite of the icons in use.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

const inter = "node_modules/@fontsource-variable/inter";
for (const part of ["latin", "latin-ext"]) {
  copyFileSync(`${inter}/files/inter-${part}-wght-normal.woff2`, `../site/fonts/inter-${part}-wght-normal.woff2`);
}
copyFileSync(`${inter}/LICENSE`, "../site/fonts/LICENSE-Inter.txt");

const names = readFileSync("icons.txt", "utf8").split("\n").map((l) => l.trim()).filter(Boolean);
const symbols = names.map((name) => {
  const svg = readFileSync(`node_modules/lucide-static/icons/${name}.svg`, "utf8");
  const inner = svg.replace(/<!--[\s\S]*?-->/g, "").replace(/<svg[^>]*>|<\/svg>/g, "").replace(/\s+/g, " ").trim();
  return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">${inner}</symbol>`;
});
writeFileSync(
  "../site/icons.svg",
  `<!-- Lucide icons, ISC licence, see icons-LICENSE.txt; made by assets.mjs from icons.txt -->\n` +
    `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`,
);
copyFileSync("node_modules/lucide-static/LICENSE", "../site/icons-LICENSE.txt");
console.log(`${names.length} icons`);
