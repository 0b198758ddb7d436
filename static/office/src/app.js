// The office's script on every page: small parts, each of which the page also works without.
import htmx from "htmx.org";
import { startLive } from "./live.js";
import { startPalette } from "./palette.js";
import { startShell } from "./shell.js";
import { startTables } from "./tables.js";
import { startTimes } from "./times.js";
import "./morph.js";

window.htmx = htmx;
startShell();
startTimes();
startTables();
startPalette();
startLive();
