/** The dialog that asks for the token of the server. */

import { byId } from "./dom.js";
import { hasToken, keepToken } from "./server.js";

/** Asks for the token, and keeps it; resolves to whether one was given. */
export function askToken() {
  const dialog = byId("token-dialog");
  if (hasToken()) byId("token-remark").textContent = "The server did not accept this token; check it, and try again.";
  byId("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    byId("token-cancel").onclick = () => dialog.close();
    dialog.onclose = () => {
      if (dialog.returnValue) keepToken(byId("token").value.trim());
      resolve(Boolean(dialog.returnValue));
    };
  });
}
