// One generation in the review: keys, and hidden results that are loaded only when they are asked for.

const KEYS_OFF = "dreamlayer-review-keys-off";
const form = document.getElementById("verdict");
const note = document.getElementById("note");
const keys = document.getElementById("keys");

for (const link of document.querySelectorAll("[data-reveal]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const image = new Image();
    image.alt = link.dataset.alt;
    image.src = link.href;
    link.closest("figure").querySelector(".image").replaceChildren(image);
    link.closest("figure").querySelector("figcaption").textContent = image.alt;
    link.parentElement.remove();
  });
}

if (keys) {
  keys.checked = localStorage.getItem(KEYS_OFF) === null;
  keys.addEventListener("change", () => {
    if (keys.checked) localStorage.removeItem(KEYS_OFF);
    else localStorage.setItem(KEYS_OFF, "");
  });
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("textarea, select, input:not([type=checkbox], [type=radio])");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || (keys && !keys.checked)) return;
  const target = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!target) return;
  event.preventDefault();
  if (target.matches("a")) target.click();
  else give(target);
});

/** Choose a verdict. A removal needs a reason first; the others are saved at once. */
function give(choice) {
  choice.checked = true;
  if (choice.value === "removed" && !note.value.trim()) note.focus();
  else form.requestSubmit(form.querySelector("[name=advance]"));
}
