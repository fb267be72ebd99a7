// Before the first paint: the theme chosen by hand, if any; else the system's holds.
try {
  var theme = localStorage.getItem('weir-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch (refused) {
  /* storage is off: the system's theme it is */
}
