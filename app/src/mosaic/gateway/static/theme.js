// Sets the theme that was chosen last, before the page is painted. Not a module, because modules run later.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
