// The list of the review: select all, and how many are selected.

import { ngettext } from "text";

const boxes = [.../** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[name=selected]"))];
const all = /** @type {HTMLInputElement} */ (document.querySelector("[data-select-all]"));
const count = /** @type {HTMLElement} */ (document.querySelector("[data-selected]"));
const submit = /** @type {HTMLButtonElement} */ (document.querySelector("[data-needs-selection]"));

if (all) {
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    refresh();
  });
  for (const box of boxes) box.addEventListener("change", refresh);
  window.addEventListener("pageshow", refresh); // the browser restores the boxes
  refresh();
}

function refresh() {
  const selected = boxes.filter((box) => box.checked).length;
  count.textContent = selected ? ngettext("{count} selected", "{count} selected", selected) : "";
  submit.disabled = !selected;
  all.checked = selected === boxes.length;
  all.indeterminate = selected > 0 && !all.checked;
}
