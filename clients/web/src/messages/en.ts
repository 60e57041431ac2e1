/**
 * The English texts of the dialog, which define the keys and placeholders of every language. `{name}` is a placeholder.
 * A text that depends on a number has one form for each category of `Intl.PluralRules`, selected by `count`.
 */
export const en = {
  files: { one: "{count} file", other: "{count} files" },

  "action.back": "Back",
  "action.cancel": "Cancel",
  "action.chooseAgain": "Choose again",
  "action.chooseFile": "Choose the file again",
  "action.close": "Close",
  "action.continue": "Continue",
  "action.discard": "Discard",
  "action.hide": "Continue in the background",
  "action.newReview": "Start a new review",
  "action.tryAgain": "Try again",

  "loading.title": "Loading the preview",
  "loading.text": "Checking which files will be saved…",

  "choose.title": "Where should the audit bundle go?",
  "choose.lead":
    "The completed review is saved as an audit bundle: one folder in which any later change can be detected.",
  "choose.destination": "Destination",
  "choose.recommended": "Recommended",
  "choose.warnings": "Before you continue",
  "choose.contents": "{files} · {size} · and a list with the checksum of each file",
  "choose.missingFile":
    "“{file}” ({size}) was not sent completely, and is not chosen now. If it belongs to the review, cancel, and choose it again.",
  "option.s3.label": "Save to cloud storage",
  "option.s3.explanation":
    "Everyone with access to your organization’s storage (S3) can read the bundle. If this storage is not available, the bundle is saved on the server first, and you are notified here.",
  "option.s3.explanationWithoutFallback":
    "Everyone with access to your organization’s storage (S3) can read the bundle. If this storage is not available, nothing is saved, and you can try again.",
  "option.s3.unavailable": "Cloud storage (S3) is not set up on this server.",
  "option.local.label": "Save on the server only",
  "option.local.explanation":
    "The bundle is only on this server’s disk, and can be downloaded. It is lost if that disk is lost.",
  "option.unavailable": "This option is not available.",
  "option.cancel.explanation": "Nothing is saved. The review does not change.",

  "warning.NOTHING_ACCEPTED": "The reviewer accepted no feedback.",
  "warning.NO_DOCUMENTS": "No document is saved: the bundle will contain only feedback, logs and reports.",
  "warning.NO_FEEDBACK": "The review has no feedback at all.",
  "warning.NO_GUIDELINES": "The review names no guidelines.",
  "warning.UNKNOWN_ACCEPTED_ID": "Some accepted feedback belongs to no suggestion of this review.",
  "warning.VALUES_REPLACED":
    "Some values of the review cannot be saved unchanged, and are replaced. The result lists them.",

  "notify.label": "Notify me by e-mail",
  "notify.labelWithAddress": "Notify me by e-mail at {email}",
  "notify.address": "Your e-mail address",
  "notify.invalid": "Enter an e-mail address, such as ada@example.com.",
  "notify.refused": "The server does not send e-mail to this address.",

  "confirm.title.s3": "Save this review to cloud storage?",
  "confirm.title.local": "Save this review on the server only?",
  "confirm.lead": "This is what will happen:",
  "confirm.collect": "Collect",
  "confirm.collect.text": "{files} ({size}): the documents, all feedback, the logs and two reports.",
  "confirm.store.s3": "Save to cloud storage",
  "confirm.store.s3.text": "The files are saved in a new folder. The folder is named after the time and the document.",
  "confirm.store.local": "Save on the server",
  "confirm.store.local.text":
    "The files are saved in a new folder on the server’s disk. The folder is named after the time and the document.",
  "confirm.seal": "Seal",
  "confirm.seal.text":
    "A list with the size and checksum of every file is saved last. After that, any change can be detected.",
  "confirm.fallback":
    "If cloud storage is not available, the whole bundle is saved on the server’s disk, and moved to cloud storage automatically later. You will see a message.",
  "confirm.noFallback":
    "If cloud storage is not available, nothing is saved. You will see a message, and can try again.",
  "confirm.notify": "You will be notified by e-mail at {email}.",
  "confirm.keepOpen":
    "Keep this page open until the server has received everything. After that, the export continues even if you close it.",
  "confirm.action.s3": "Save to cloud storage",
  "confirm.action.local": "Save on the server",

  "running.title": "Saving the audit bundle",
  "running.title.reconnecting": "Reconnecting to the export",
  "running.title.otherTab": "This review is being saved in another tab",
  "running.keepOpen": "Keep this page open until the server has received everything.",
  "running.keepOtherTabOpen": "Keep the other tab open until the server has received everything.",
  "running.mayClose": "You can close this page. The export continues.",
  "running.hashing": "Reading {file}: {percent}",
  "running.uploading": "Sending {file} to the server: {percent}",
  "running.unnamedFile": "a document",
  "running.sending": "Sending the review to the server…",
  "running.looking": "Asking the server for the export…",
  "running.storing": "Saving the files…",
  "running.storing.local": "Saving the files on the server’s disk…",
  "running.withoutProgress": "The export is running on the server. Its progress cannot be shown at the moment.",
  "running.connectionLost": "The connection is lost. Reconnecting…",
  "running.offline": "This device is offline. The dialog reconnects when it is online again.",
  "running.counts": "{done} of {files} saved",
  "running.countsWithSize": "{done} of {files} saved · {sent} of {size} sent",
  "running.bar.hashing": "Document being read",
  "running.bar.uploading": "Document being sent",
  "running.bar.storing": "Files being saved",
  "running.fellBack":
    "The bundle cannot be saved to cloud storage now. It is being saved on the server’s disk instead.",
  "running.state.waiting": "Waiting",
  "running.state.sending": "Saving",
  "running.state.retrying": "Trying again",
  "running.state.stored": "Saved",

  "done.title.s3": "Saved to cloud storage",
  "done.title.local": "Saved on the server",
  "done.title.provisional": "Saved on the server for now",
  "done.fellBack": "The bundle could not be saved to cloud storage yet.",
  "done.fellBack.safe": "Nothing is lost: the complete, verified bundle is on the server’s disk.",
  "done.fellBack.next":
    "The server moves it to cloud storage automatically. The provisional values below change then; this page shows the final ones as soon as they are known.",
  "done.synced": "The bundle is in cloud storage now. These are the final values.",
  "done.location": "Location",
  "done.files": "Files",
  "done.files.text": "{files} and the list of checksums",
  "done.size": "Size",
  "done.time": "Saved at",
  "done.proof": "Proof",
  "done.proof.hint":
    "The checksum of the bundle (SHA-256 of its manifest). Keep it to prove later that the bundle is unchanged.",
  "done.provisional": "provisional",
  "done.replacements": { one: "{count} value was replaced.", other: "{count} values were replaced." },
  "done.replacements.text": "The bundle is complete otherwise, and its list of files names them.",
  "done.replacements.show": "Show the values",
  "done.download": "Download",
  "done.download.document": "Final document",
  "done.download.bundle": "Complete bundle (ZIP)",
  "done.copy.location": "Copy the location",
  "done.copy.proof": "Copy the proof",
  "done.copied": "Copied",
  "done.notCopied": "Could not be copied",

  "download.starting": "Downloading {file}…",
  "download.percent": "Downloading {file}: {percent}",
  "download.bytes": "Downloading {file}: {size}",
  "download.bundle": "the bundle",
  "download.saved": "{file} ({size}) was verified and passed to your browser.",
  "download.failed": "The download failed. {reason} You can try again.",
  "download.unsafeName": "The name of the file is not a valid file name, so it was not saved.",

  "replaced.NOT_UNICODE": "{path}: contains half of a character, which was replaced by �",
  "replaced.NOT_FINITE": "{path}: is not a finite number; saved as text",
  "replaced.NOT_EXACT": "{path}: is a number that would be rounded; saved as text",
  "replaced.KEY_NOT_TEXT": "{path}: has a key that is not a text; saved as the text of the key",
  "replaced.DUPLICATE_KEY": "{path}: has a key that occurs twice; saved under another key",
  "replaced.TOO_DEEP": "{path}: is nested too deeply; saved as text, or left empty",
  "replaced.CIRCULAR": "{path}: contains itself; left empty",
  "replaced.BYTES": "{path}: is binary data; saved as text (base64)",
  "replaced.UNKNOWN_TYPE": "{path}: is of an unknown type; saved as text",

  "failed.title.preview": "The preview could not be loaded",
  "failed.title.refused": "No bundle was created",
  "failed.title.start": "The review could not be sent",
  "failed.title.follow": "The result is not known yet",
  "failed.title.unreachable": "Can’t reach the server",
  "failed.offline": "This device is offline.",
  "failed.unreachable.preview": "Nothing was sent. Check your connection, then try again.",
  "failed.unreachable.start":
    "The server has not confirmed that it received the review. Keep this page open, check your connection, then try again: this never creates a second bundle.",
  "failed.unreachable.look":
    "The server does not answer, so it is not known whether it received the review. This page connects again when the server can be reached.",
  "failed.unreachable.follow":
    "The server accepted the export, and it continues there. This page connects again when the server can be reached.",
  "failed.follow": "The server accepted the export. Whether it is complete cannot be shown at the moment.",
  "failed.page": "The page’s server returned an error (status {status}).",
  "failed.page.noName": "The page’s server did not return the name of the export.",
  "failed.administrator": "For your administrator:",
  "failed.fields": "The server refused these values:",

  "error.ARCHIVED": "The bundle is in an archive. Ask your administrator to restore it, then try again.",
  "error.CREDENTIALS_EXPIRED": "Your sign-in has expired. Sign in again, then try again.",
  "error.CREDENTIALS_INVALID": "The server does not accept your sign-in. Sign in again, or ask your administrator.",
  "error.CREDENTIALS_MISSING": "The server requires a sign-in. Sign in, then try again.",
  "error.DAMAGED": "The received data is damaged.",
  "error.DATA_LOSS": "A stored file differs from what was saved. Keep the bundle, and ask your administrator.",
  "error.DEADLINE_PASSED": "The server did not answer in time. Wait a moment, then try again.",
  "error.EXPORT_NOT_FOUND": "The server does not know this export.",
  "error.EXPORT_NOT_HERE":
    "The server that this page is connected to does not know the export at the moment. Ask your administrator if this does not change.",
  "error.HOST_NOT_ALLOWED": "The server does not accept calls under this address. Ask your administrator.",
  "error.HTTP_ERROR": "Another program answered instead of the server. Ask your administrator.",
  "error.INTERNAL": "The server has an internal problem. Ask your administrator if it occurs again.",
  "error.INVALID_REQUEST": "The server cannot process this review.",
  "error.INVALID_RESPONSE": "The answer of the server cannot be read. Ask your administrator.",
  "error.LOCAL_STORE_FULL": "The server’s disk is full. Ask your administrator to free disk space.",
  "error.NO_BUCKET": "Cloud storage is not set up on this server. The bundle can be saved on the server itself.",
  "error.OVERLOADED": "The server is busy. Wait a moment, then try again.",
  "error.QUARANTINED": "The server cannot continue this export by itself. Ask your administrator.",
  "error.READ_ONLY": "The server accepts no exports at the moment. Ask your administrator.",
  "error.REQUEST_ID_REUSED":
    "This review was already saved with other content. “Try again” saves it as another bundle.",
  "error.REQUEST_TOO_LARGE": "The review is too large for the server.",
  "error.REQUEST_TOO_SLOW": "The connection is too slow for this review. Try again with a better connection.",
  "error.RESPONSE_TOO_LARGE": "The answer of the server is too large for this page.",
  "error.ROLE_MISSING": "You don’t have the permission to do this. Ask your administrator.",
  "error.SOURCE_LOST": "A document of this review is no longer in its original location.",
  "error.SOURCE_NOT_ALLOWED": "The server may not read the location of a document. Ask your administrator.",
  "error.SOURCE_NOT_FOUND": "A document of this review is not in its location.",
  "error.STORE_CHANGED": "The cloud storage of the server has changed. Ask your administrator.",
  "error.STORE_DENIED": "The server does not have access to cloud storage. Ask your administrator to grant access.",
  "error.STORE_MISCONFIGURED": "The cloud storage of the server is not set up correctly. Ask your administrator.",
  "error.STORE_UNAVAILABLE": "The server can’t reach cloud storage. Wait a moment, then try again.",
  "error.STORE_UNSAFE": "The cloud storage of the server is not safe for audit bundles. Ask your administrator.",
  "error.UNREADABLE": "A document could not be read. If its file was changed or moved, choose it again.",
  "error.UNTRUSTED_RESPONSE": "The answer of the server is not trustworthy, and was not used. Ask your administrator.",
  "error.UPLOAD_ABORTED": "A document was damaged on its way to the server, or changed meanwhile. Try again.",
  "error.UPLOAD_NOT_FOUND":
    "The server no longer has the document that was sent to it. Try again: it is sent once more.",
  "error.unreachable": "The server can’t be reached.",
  "error.unauthenticated": "The server does not accept your sign-in. Sign in again, then try again.",
  "error.permissionDenied": "You don’t have the permission to do this. Ask your administrator.",
  "error.unavailable": "The server can’t do this at the moment. Wait a moment, then try again.",
  "error.other": "The server reported a problem.",

  "interrupted.title": "Sending was interrupted",
  "interrupted.text":
    "Sending stopped before the server had received everything, for example because the page was reloaded. Nothing was saved.",
  "interrupted.file":
    "“{file}” ({size}) was not sent completely. Choose it again, then complete the review again: sending continues where it stopped.",
  "interrupted.noFile": "Complete the review again to save it.",
  "interrupted.watching": "If the server received the review after all, this dialog shows it.",

  "status.label": "Audit bundle",
  "status.open": "Show",
  "status.sending": "Sending the review: {percent}. Keep this page open.",
  "status.sendingWithoutProgress": "Sending the review. Keep this page open.",
  "status.running": "Saving the audit bundle: {percent}",
  "status.runningWithoutProgress": "Saving the audit bundle…",
  "status.connectionLost": "Reconnecting to the server…",
  "status.saved": "The audit bundle is saved",
  "status.provisional": "The audit bundle is saved on the server for now",
  "status.failed": "The audit bundle was not saved",
  "status.unknown": "Can’t reach the server",
  "status.interrupted": "Sending the review was interrupted",
} as const;

/** The texts of one category of `Intl.PluralRules` each. Missing categories use `other`. */
export type Plural = { readonly other: string } & { readonly [Category in Intl.LDMLPluralRule]?: string };

/** The key of a text. */
export type Key = keyof typeof en;

/** The texts of one language. */
export type Messages = { readonly [K in Key]: (typeof en)[K] extends string ? string : Plural };

/** The names of a text's placeholders. */
type Placeholders<Text> = Text extends { other: infer Other }
  ? "count" | Placeholders<Other>
  : Text extends `${string}{${infer Name}}${infer Rest}`
    ? Name | Placeholders<Rest>
    : never;

/** The values of a text's placeholders. Numbers are formatted for the language. */
export type Values<K extends Key> = {
  readonly [Name in Placeholders<(typeof en)[K]>]: Name extends "count" ? number : string | number;
};
