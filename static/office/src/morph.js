// `hx-swap="morph"`: changes only what differs, so that focus, scroll and open parts stay where they are.
import htmx from "htmx.org";
import { Idiomorph } from "idiomorph";

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    return morph(target, fragment.children);
  },
});

export function morph(target, content) {
  return Idiomorph.morph(target, content, {
    morphStyle: "outerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed(before, after) {
        if (before.nodeType !== 1 || after.nodeType !== 1) return true;
        if (before.hasAttribute("data-plot") && before.dataset.values === after.dataset.values) return false;
        if (before.tagName === "DETAILS" && before.open) after.setAttribute("open", "");
        if (before.matches("[data-choose], [data-choose-all]")) {
          // what is chosen stays chosen
          after.toggleAttribute("checked", before.checked);
          after.checked = before.checked;
        }
        if (before.tagName === "TR" && before.hasAttribute("tabindex")) after.setAttribute("tabindex", before.tabIndex);
        return true;
      },
      // a table's frame that scrolls stays in the way of Tab (tables.js made it so)
      beforeAttributeUpdated: (name, node) =>
        !(node.matches(".table-wrap") && ["tabindex", "role", "aria-label"].includes(name)),
      afterNodeAdded(node) {
        if (node.nodeType === 1 && node.tagName === "TR") node.classList.add("fresh");
      },
    },
  });
}
