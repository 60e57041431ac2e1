import type { Messages } from "./en.js";

/** The German texts. */
export const de: Messages = {
  files: { one: "{count} Datei", other: "{count} Dateien" },

  "action.back": "Zurück",
  "action.cancel": "Abbrechen",
  "action.chooseAgain": "Neu auswählen",
  "action.chooseFile": "Datei erneut auswählen",
  "action.close": "Schließen",
  "action.continue": "Weiter",
  "action.discard": "Verwerfen",
  "action.hide": "Im Hintergrund fortsetzen",
  "action.newReview": "Neue Prüfung beginnen",
  "action.tryAgain": "Erneut versuchen",

  "loading.title": "Vorschau wird geladen",
  "loading.text": "Es wird ermittelt, welche Dateien gespeichert werden…",

  "choose.title": "Wo soll das Prüfpaket gespeichert werden?",
  "choose.lead":
    "Die abgeschlossene Prüfung wird als Prüfpaket gespeichert: ein Ordner, in dem jede spätere Änderung erkennbar ist.",
  "choose.destination": "Ziel",
  "choose.recommended": "Empfohlen",
  "choose.warnings": "Bevor Sie fortfahren",
  "choose.contents": "{files} · {size} · und eine Liste mit der Prüfsumme jeder Datei",
  "choose.missingFile":
    "„{file}“ ({size}) wurde nicht vollständig gesendet und ist jetzt nicht ausgewählt. Wenn die Datei zur Prüfung gehört, brechen Sie ab und wählen Sie sie erneut aus.",
  "option.s3.label": "Im Cloudspeicher speichern",
  "option.s3.explanation":
    "Alle, die Zugriff auf den Speicher (S3) Ihrer Organisation haben, können das Paket lesen. Ist dieser Speicher nicht verfügbar, wird das Paket zunächst auf dem Server gespeichert, und Sie erfahren es hier.",
  "option.s3.explanationWithoutFallback":
    "Alle, die Zugriff auf den Speicher (S3) Ihrer Organisation haben, können das Paket lesen. Ist dieser Speicher nicht verfügbar, wird nichts gespeichert, und Sie können es erneut versuchen.",
  "option.s3.unavailable": "Auf diesem Server ist kein Cloudspeicher (S3) eingerichtet.",
  "option.local.label": "Nur auf dem Server speichern",
  "option.local.explanation":
    "Das Paket ist nur auf der Festplatte dieses Servers und kann heruntergeladen werden. Geht sie verloren, ist auch das Paket verloren.",
  "option.unavailable": "Diese Möglichkeit ist nicht verfügbar.",
  "option.cancel.explanation": "Nichts wird gespeichert. Die Prüfung bleibt unverändert.",

  "warning.NOTHING_ACCEPTED": "Es wurde keine Anmerkung angenommen.",
  "warning.NO_DOCUMENTS":
    "Es wird kein Dokument gespeichert: Das Paket enthält nur Anmerkungen, Protokolle und Berichte.",
  "warning.NO_FEEDBACK": "Die Prüfung enthält keine einzige Anmerkung.",
  "warning.NO_GUIDELINES": "Die Prüfung nennt keine Richtlinien.",
  "warning.UNKNOWN_ACCEPTED_ID": "Einige angenommene Anmerkungen gehören zu keinem Vorschlag dieser Prüfung.",
  "warning.VALUES_REPLACED":
    "Einige Werte der Prüfung können nicht unverändert gespeichert werden und werden ersetzt. Das Ergebnis führt sie auf.",

  "notify.label": "Per E-Mail benachrichtigen",
  "notify.labelWithAddress": "Per E-Mail an {email} benachrichtigen",
  "notify.address": "Ihre E-Mail-Adresse",
  "notify.invalid": "Geben Sie eine E-Mail-Adresse ein, zum Beispiel ada@example.com.",
  "notify.refused": "Der Server sendet keine E-Mails an diese Adresse.",

  "confirm.title.s3": "Diese Prüfung im Cloudspeicher speichern?",
  "confirm.title.local": "Diese Prüfung nur auf dem Server speichern?",
  "confirm.lead": "Das wird geschehen:",
  "confirm.collect": "Sammeln",
  "confirm.collect.text": "{files} ({size}): die Dokumente, alle Anmerkungen, die Protokolle und zwei Berichte.",
  "confirm.store.s3": "Im Cloudspeicher speichern",
  "confirm.store.s3.text":
    "Die Dateien werden in einem neuen Ordner gespeichert. Er ist nach dem Zeitpunkt und dem Dokument benannt.",
  "confirm.store.local": "Auf dem Server speichern",
  "confirm.store.local.text":
    "Die Dateien werden in einem neuen Ordner auf der Festplatte des Servers gespeichert. Er ist nach dem Zeitpunkt und dem Dokument benannt.",
  "confirm.seal": "Versiegeln",
  "confirm.seal.text":
    "Zuletzt wird eine Liste mit der Größe und der Prüfsumme jeder Datei gespeichert. Danach ist jede Änderung erkennbar.",
  "confirm.fallback":
    "Ist der Cloudspeicher nicht verfügbar, wird das ganze Paket auf der Festplatte des Servers gespeichert und später automatisch in den Cloudspeicher verschoben. Sie sehen dann einen Hinweis.",
  "confirm.noFallback":
    "Ist der Cloudspeicher nicht verfügbar, wird nichts gespeichert. Sie sehen dann einen Hinweis und können es erneut versuchen.",
  "confirm.notify": "Sie werden per E-Mail an {email} benachrichtigt.",
  "confirm.keepOpen":
    "Lassen Sie diese Seite geöffnet, bis der Server alles erhalten hat. Danach läuft der Export weiter, auch wenn Sie sie schließen.",
  "confirm.action.s3": "Im Cloudspeicher speichern",
  "confirm.action.local": "Auf dem Server speichern",

  "running.title": "Prüfpaket wird gespeichert",
  "running.title.reconnecting": "Verbindung zum Export wird hergestellt",
  "running.title.otherTab": "Diese Prüfung wird in einem anderen Tab gespeichert",
  "running.keepOpen": "Lassen Sie diese Seite geöffnet, bis der Server alles erhalten hat.",
  "running.keepOtherTabOpen": "Lassen Sie den anderen Tab geöffnet, bis der Server alles erhalten hat.",
  "running.mayClose": "Sie können diese Seite schließen. Der Export läuft weiter.",
  "running.hashing": "{file} wird gelesen: {percent}",
  "running.uploading": "{file} wird an den Server gesendet: {percent}",
  "running.unnamedFile": "Ein Dokument",
  "running.sending": "Die Prüfung wird an den Server gesendet…",
  "running.looking": "Der Export wird beim Server abgefragt…",
  "running.storing": "Die Dateien werden gespeichert…",
  "running.storing.local": "Die Dateien werden auf der Festplatte des Servers gespeichert…",
  "running.withoutProgress": "Der Export läuft auf dem Server. Sein Fortschritt kann zurzeit nicht angezeigt werden.",
  "running.connectionLost": "Die Verbindung ist unterbrochen. Sie wird wiederhergestellt…",
  "running.offline": "Dieses Gerät ist offline. Die Verbindung wird wiederhergestellt, sobald es online ist.",
  "running.counts": "{done} von {files} gespeichert",
  "running.countsWithSize": "{done} von {files} gespeichert · {sent} von {size} gesendet",
  "running.bar.hashing": "Gelesener Teil des Dokuments",
  "running.bar.uploading": "Gesendeter Teil des Dokuments",
  "running.bar.storing": "Gespeicherte Dateien",
  "running.fellBack":
    "Das Paket kann zurzeit nicht im Cloudspeicher gespeichert werden. Es wird stattdessen auf der Festplatte des Servers gespeichert.",
  "running.state.waiting": "Wartet",
  "running.state.sending": "Wird gespeichert",
  "running.state.retrying": "Neuer Versuch",
  "running.state.stored": "Gespeichert",

  "done.title.s3": "Im Cloudspeicher gespeichert",
  "done.title.local": "Auf dem Server gespeichert",
  "done.title.provisional": "Vorläufig auf dem Server gespeichert",
  "done.fellBack": "Das Paket konnte noch nicht im Cloudspeicher gespeichert werden.",
  "done.fellBack.safe": "Nichts ist verloren: Das vollständige, geprüfte Paket ist auf der Festplatte des Servers.",
  "done.fellBack.next":
    "Der Server verschiebt es automatisch in den Cloudspeicher. Die vorläufigen Werte unten ändern sich dann; diese Seite zeigt die endgültigen, sobald sie bekannt sind.",
  "done.synced": "Das Paket ist jetzt im Cloudspeicher. Dies sind die endgültigen Werte.",
  "done.location": "Ort",
  "done.files": "Dateien",
  "done.files.text": "{files} und die Liste der Prüfsummen",
  "done.size": "Größe",
  "done.time": "Gespeichert",
  "done.proof": "Nachweis",
  "done.proof.hint":
    "Die Prüfsumme des Pakets (SHA-256 seines Manifests). Bewahren Sie sie auf, um später nachzuweisen, dass das Paket unverändert ist.",
  "done.provisional": "vorläufig",
  "done.replacements": { one: "{count} Wert wurde ersetzt.", other: "{count} Werte wurden ersetzt." },
  "done.replacements.text": "Ansonsten ist das Paket vollständig, und seine Dateiliste nennt sie.",
  "done.replacements.show": "Werte anzeigen",
  "done.download": "Herunterladen",
  "done.download.document": "Endgültiges Dokument",
  "done.download.bundle": "Vollständiges Paket (ZIP)",
  "done.copy.location": "Ort kopieren",
  "done.copy.proof": "Nachweis kopieren",
  "done.copied": "Kopiert",
  "done.notCopied": "Konnte nicht kopiert werden",

  "download.starting": "{file} wird heruntergeladen…",
  "download.percent": "{file} wird heruntergeladen: {percent}",
  "download.bytes": "{file} wird heruntergeladen: {size}",
  "download.bundle": "Das Paket",
  "download.saved": "{file} ({size}) wurde geprüft und Ihrem Browser übergeben.",
  "download.failed": "Das Herunterladen ist fehlgeschlagen. {reason} Sie können es erneut versuchen.",
  "download.unsafeName": "Der Name der Datei ist kein gültiger Dateiname, deshalb wurde sie nicht gespeichert.",

  "replaced.NOT_UNICODE": "{path}: enthält ein halbes Zeichen, das durch � ersetzt wurde",
  "replaced.NOT_FINITE": "{path}: ist keine endliche Zahl; als Text gespeichert",
  "replaced.NOT_EXACT": "{path}: ist eine Zahl, die gerundet würde; als Text gespeichert",
  "replaced.KEY_NOT_TEXT": "{path}: hat einen Schlüssel, der kein Text ist; unter dem Text des Schlüssels gespeichert",
  "replaced.DUPLICATE_KEY": "{path}: hat einen Schlüssel doppelt; unter einem anderen Schlüssel gespeichert",
  "replaced.TOO_DEEP": "{path}: ist zu tief verschachtelt; als Text gespeichert oder leer gelassen",
  "replaced.CIRCULAR": "{path}: enthält sich selbst; leer gelassen",
  "replaced.BYTES": "{path}: sind Binärdaten; als Text (Base64) gespeichert",
  "replaced.UNKNOWN_TYPE": "{path}: ist von unbekanntem Typ; als Text gespeichert",

  "failed.title.preview": "Die Vorschau konnte nicht geladen werden",
  "failed.title.refused": "Es wurde kein Paket erstellt",
  "failed.title.start": "Die Prüfung konnte nicht gesendet werden",
  "failed.title.follow": "Das Ergebnis ist noch nicht bekannt",
  "failed.title.unreachable": "Der Server ist nicht erreichbar",
  "failed.offline": "Dieses Gerät ist offline.",
  "failed.unreachable.preview":
    "Es wurde nichts gesendet. Prüfen Sie Ihre Verbindung und versuchen Sie es dann erneut.",
  "failed.unreachable.start":
    "Der Server hat nicht bestätigt, dass er die Prüfung erhalten hat. Lassen Sie diese Seite geöffnet, prüfen Sie Ihre Verbindung und versuchen Sie es dann erneut: Ein zweites Paket entsteht dabei nie.",
  "failed.unreachable.look":
    "Der Server antwortet nicht, daher ist nicht bekannt, ob er die Prüfung erhalten hat. Diese Seite verbindet sich wieder, sobald der Server erreichbar ist.",
  "failed.unreachable.follow":
    "Der Server hat den Export angenommen und setzt ihn fort. Diese Seite verbindet sich wieder, sobald der Server erreichbar ist.",
  "failed.follow":
    "Der Server hat den Export angenommen. Ob er abgeschlossen ist, kann zurzeit nicht angezeigt werden.",
  "failed.page": "Der Server der Seite hat einen Fehler gemeldet (Status {status}).",
  "failed.page.noName": "Der Server der Seite hat den Namen des Exports nicht mitgeteilt.",
  "failed.administrator": "Für Ihre Administration:",
  "failed.fields": "Diese Werte hat der Server abgelehnt:",

  "error.ARCHIVED":
    "Das Paket ist in einem Archiv. Bitten Sie Ihre Administration, es wiederherzustellen, und versuchen Sie es dann erneut.",
  "error.CREDENTIALS_EXPIRED":
    "Ihre Anmeldung ist abgelaufen. Melden Sie sich neu an und versuchen Sie es dann erneut.",
  "error.CREDENTIALS_INVALID":
    "Der Server akzeptiert Ihre Anmeldung nicht. Melden Sie sich neu an oder fragen Sie Ihre Administration.",
  "error.CREDENTIALS_MISSING":
    "Der Server verlangt eine Anmeldung. Melden Sie sich an und versuchen Sie es dann erneut.",
  "error.DAMAGED": "Die empfangenen Daten sind beschädigt.",
  "error.DATA_LOSS":
    "Eine gespeicherte Datei weicht von dem ab, was gespeichert wurde. Bewahren Sie das Paket auf und fragen Sie Ihre Administration.",
  "error.DEADLINE_PASSED":
    "Der Server hat nicht rechtzeitig geantwortet. Warten Sie einen Moment und versuchen Sie es dann erneut.",
  "error.EXPORT_NOT_FOUND": "Der Server kennt diesen Export nicht.",
  "error.EXPORT_NOT_HERE":
    "Der Server, mit dem diese Seite verbunden ist, kennt den Export zurzeit nicht. Fragen Sie Ihre Administration, wenn das so bleibt.",
  "error.HOST_NOT_ALLOWED": "Der Server nimmt unter dieser Adresse keine Anfragen an. Fragen Sie Ihre Administration.",
  "error.HTTP_ERROR": "Statt des Servers hat ein anderes Programm geantwortet. Fragen Sie Ihre Administration.",
  "error.INTERNAL": "Der Server hat ein internes Problem. Fragen Sie Ihre Administration, wenn es erneut auftritt.",
  "error.INVALID_REQUEST": "Der Server kann diese Prüfung nicht verarbeiten.",
  "error.INVALID_RESPONSE": "Die Antwort des Servers ist nicht lesbar. Fragen Sie Ihre Administration.",
  "error.LOCAL_STORE_FULL":
    "Die Festplatte des Servers ist voll. Bitten Sie Ihre Administration, Speicherplatz freizugeben.",
  "error.NO_BUCKET":
    "Auf diesem Server ist kein Cloudspeicher eingerichtet. Das Paket kann auf dem Server selbst gespeichert werden.",
  "error.OVERLOADED": "Der Server ist ausgelastet. Warten Sie einen Moment und versuchen Sie es dann erneut.",
  "error.QUARANTINED": "Der Server kann diesen Export nicht selbst fortsetzen. Fragen Sie Ihre Administration.",
  "error.READ_ONLY": "Der Server nimmt zurzeit keine Exporte an. Fragen Sie Ihre Administration.",
  "error.REQUEST_ID_REUSED":
    "Diese Prüfung wurde bereits mit anderem Inhalt gespeichert. „Erneut versuchen“ speichert sie als weiteres Paket.",
  "error.REQUEST_TOO_LARGE": "Die Prüfung ist zu groß für den Server.",
  "error.REQUEST_TOO_SLOW":
    "Die Verbindung ist zu langsam für diese Prüfung. Versuchen Sie es mit einer besseren Verbindung erneut.",
  "error.RESPONSE_TOO_LARGE": "Die Antwort des Servers ist zu groß für diese Seite.",
  "error.ROLE_MISSING": "Sie haben keine Berechtigung dafür. Fragen Sie Ihre Administration.",
  "error.SOURCE_LOST": "Ein Dokument dieser Prüfung ist nicht mehr an seinem ursprünglichen Ort.",
  "error.SOURCE_NOT_ALLOWED": "Der Server darf den Ort eines Dokuments nicht lesen. Fragen Sie Ihre Administration.",
  "error.SOURCE_NOT_FOUND": "Ein Dokument dieser Prüfung ist nicht an seinem Ort.",
  "error.STORE_CHANGED": "Der Cloudspeicher des Servers hat sich geändert. Fragen Sie Ihre Administration.",
  "error.STORE_DENIED":
    "Der Server hat keinen Zugriff auf den Cloudspeicher. Bitten Sie Ihre Administration, den Zugriff zu erlauben.",
  "error.STORE_MISCONFIGURED":
    "Der Cloudspeicher des Servers ist nicht richtig eingerichtet. Fragen Sie Ihre Administration.",
  "error.STORE_UNAVAILABLE":
    "Der Server erreicht den Cloudspeicher nicht. Warten Sie einen Moment und versuchen Sie es dann erneut.",
  "error.STORE_UNSAFE":
    "Der Cloudspeicher des Servers ist für Prüfpakete nicht sicher. Fragen Sie Ihre Administration.",
  "error.UNREADABLE":
    "Ein Dokument konnte nicht gelesen werden. Wenn seine Datei geändert oder verschoben wurde, wählen Sie sie erneut aus.",
  "error.UNTRUSTED_RESPONSE":
    "Die Antwort des Servers ist nicht vertrauenswürdig und wurde nicht verwendet. Fragen Sie Ihre Administration.",
  "error.UPLOAD_ABORTED":
    "Ein Dokument wurde auf dem Weg zum Server beschädigt oder inzwischen geändert. Versuchen Sie es erneut.",
  "error.UPLOAD_NOT_FOUND":
    "Der Server hat das gesendete Dokument nicht mehr. Versuchen Sie es erneut: Es wird noch einmal gesendet.",
  "error.unreachable": "Der Server ist nicht erreichbar.",
  "error.unauthenticated":
    "Der Server akzeptiert Ihre Anmeldung nicht. Melden Sie sich neu an und versuchen Sie es dann erneut.",
  "error.permissionDenied": "Sie haben keine Berechtigung dafür. Fragen Sie Ihre Administration.",
  "error.unavailable":
    "Der Server kann das zurzeit nicht ausführen. Warten Sie einen Moment und versuchen Sie es dann erneut.",
  "error.other": "Der Server hat ein Problem gemeldet.",

  "interrupted.title": "Das Senden wurde unterbrochen",
  "interrupted.text":
    "Das Senden endete, bevor der Server alles erhalten hatte, zum Beispiel weil die Seite neu geladen wurde. Es wurde nichts gespeichert.",
  "interrupted.file":
    "„{file}“ ({size}) wurde nicht vollständig gesendet. Wählen Sie die Datei erneut aus und schließen Sie die Prüfung dann noch einmal ab: Das Senden wird dort fortgesetzt, wo es aufgehört hat.",
  "interrupted.noFile": "Schließen Sie die Prüfung noch einmal ab, um sie zu speichern.",
  "interrupted.watching": "Falls der Server die Prüfung doch erhalten hat, zeigt dieser Dialog es an.",

  "status.label": "Prüfpaket",
  "status.open": "Anzeigen",
  "status.sending": "Die Prüfung wird gesendet: {percent}. Lassen Sie diese Seite geöffnet.",
  "status.sendingWithoutProgress": "Die Prüfung wird gesendet. Lassen Sie diese Seite geöffnet.",
  "status.running": "Prüfpaket wird gespeichert: {percent}",
  "status.runningWithoutProgress": "Prüfpaket wird gespeichert…",
  "status.connectionLost": "Verbindung zum Server wird wiederhergestellt…",
  "status.saved": "Das Prüfpaket ist gespeichert",
  "status.provisional": "Das Prüfpaket ist vorläufig auf dem Server gespeichert",
  "status.failed": "Das Prüfpaket wurde nicht gespeichert",
  "status.unknown": "Der Server ist nicht erreichbar",
  "status.interrupted": "Das Senden der Prüfung wurde unterbrochen",
};
