/** Join tokens, and logins inside addresses. They may stand anywhere: under a wrong flag, in a library's message. */
const JOIN_TOKEN = /\bshoal1\.[\w-]+(\.[\w-]*)?/g;
const LOGIN = /:\/\/[^\s"'/@]+@/g;

export function withoutSecrets(text: string): string {
  return text.replaceAll(JOIN_TOKEN, 'shoal1.…').replaceAll(LOGIN, '://…@');
}
