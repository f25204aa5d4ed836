// Names for the selects with autocompletion of Django's forms, whose empty value leaves them without one.

window.addEventListener("load", () => {
  for (const selection of document.querySelectorAll(".select2-selection")) {
    const label = document.querySelector(`label[for="${CSS.escape(selection.closest(".select2").previousElementSibling.id)}"]`);
    if (!label) continue;
    label.id ||= `${label.htmlFor}-label`;
    selection.setAttribute("aria-labelledby", `${label.id} ${selection.getAttribute("aria-labelledby")}`);
  }
});
