/* The field for the colours that has the focus is the one whose button is seen: the theme marks none when it starts. */
addEventListener("load", () => {
  for (const field of document.querySelectorAll(".md-option")) field.checked = !field.nextElementSibling.hidden;
});

/* The buttons that open the menu and the search on a telephone are labels: the keyboard reaches them as well. */
document.addEventListener("DOMContentLoaded", () => {
  for (const label of document.querySelectorAll("label.md-header__button[for]")) {
    if (label.previousElementSibling?.matches(".md-option")) continue; // its field has the focus
    label.tabIndex = 0;
    label.setAttribute("role", "button");
    label.setAttribute("aria-label", label.htmlFor === "__drawer" ? "Menu" : "Search");
    label.addEventListener("keydown", event => {
      if (event.key !== " ") return; // Enter on a label is the theme's
      event.preventDefault();
      label.click();
    });
  }
});
