// Goes back to the app once all apps have been told of the sign-out; without scripts, the link does.
addEventListener("load", () => location.replace(document.getElementById("go-on").href));
