// One generation in the review: keys, and hidden results that are loaded only when they are asked for.

const KEYS_OFF = "dreamlayer-review-keys-off";
const form = /** @type {HTMLFormElement} */ (document.getElementById("verdict"));
const note = /** @type {HTMLTextAreaElement} */ (document.getElementById("note"));
const keys = /** @type {HTMLInputElement | null} */ (document.getElementById("keys"));

for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("[data-reveal]"))) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const image = new Image();
    image.alt = /** @type {string} */ (link.dataset.alt);
    image.src = link.href;
    const figure = /** @type {HTMLElement} */ (link.closest("figure"));
    /** @type {Element} */ (figure.querySelector(".image")).replaceChildren(image);
    /** @type {Element} */ (figure.querySelector("figcaption")).textContent = image.alt;
    /** @type {Element} */ (link.parentElement).remove();
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
  const typing = /** @type {Element} */ (event.target).closest("textarea, select, input:not([type=checkbox], [type=radio])");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || (keys && !keys.checked)) return;
  const target = /** @type {HTMLElement | null} */ (document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`));
  if (!target) return;
  event.preventDefault();
  if (target.matches("a")) target.click();
  else give(/** @type {HTMLInputElement} */ (target));
});

/** Choose a verdict. A removal needs a reason first; the others are saved at once. @param {HTMLInputElement} choice */
function give(choice) {
  choice.checked = true;
  if (choice.value === "removed" && !note.value.trim()) note.focus();
  else form.requestSubmit(/** @type {HTMLElement | null} */ (form.querySelector("[name=advance]")));
}
