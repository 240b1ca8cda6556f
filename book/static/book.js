// A button at the top of every page with code hides and shows all of it; the choice is kept from page to page.
document.addEventListener("DOMContentLoaded", () => {
  const cells = document.querySelectorAll(".bd-article .cell:not(.sentence) .cell_input");
  const place = document.querySelector(".article-header-buttons");
  if (!cells.length || !place) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn btn-sm hide-code";
  const show = (hidden) => {
    document.documentElement.classList.toggle("code-hidden", hidden);
    button.textContent = hidden ? "show code" : "hide code";
    try { localStorage.setItem("code-hidden", hidden ? "1" : ""); } catch { /* a page from a folder may keep nothing */ }
  };
  button.addEventListener("click", () => show(!document.documentElement.classList.contains("code-hidden")));
  let kept = "";
  try { kept = localStorage.getItem("code-hidden"); } catch { /* likewise */ }
  show(Boolean(kept));
  place.prepend(button);
});

// A hit of the search opens the page where the first of the words stands.
addEventListener("load", () => !location.hash && document.querySelector("article .highlighted")?.scrollIntoView({ block: "center" }));

// Paper cannot be clicked: what is folded is opened for it, and folded again.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});

// A table that is too wide for the screen scrolls by the keyboard too.
const reach = () => {
  for (const table of document.querySelectorAll(".pst-scrollable-table-container")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  }
};
addEventListener("load", reach);
addEventListener("resize", reach);
