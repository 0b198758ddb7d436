import "./room.css";
import { ReadingRoom } from "./room";
import type { Page } from "./types";

const page = JSON.parse(document.getElementById("page")?.textContent ?? "{}") as Page;
const room = new ReadingRoom();
room.page = page;
document.getElementById("room")?.append(room);
