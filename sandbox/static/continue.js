// Sends the answer back to the app at once; without scripts, the button does.
document.getElementById("continue").submit();
