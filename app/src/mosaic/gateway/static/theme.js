// Before the page is painted: the theme chosen last time, if any. A classic script, since modules come later.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
