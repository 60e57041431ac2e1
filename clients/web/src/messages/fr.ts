import type { Messages } from "./en.js";

/** The French texts. Colons, question marks and quotation marks have a no-break space. */
export const fr: Messages = {
  files: { one: "{count} fichier", other: "{count} fichiers" },

  "action.back": "Retour",
  "action.cancel": "Annuler",
  "action.chooseAgain": "Choisir à nouveau",
  "action.chooseFile": "Choisir à nouveau le fichier",
  "action.close": "Fermer",
  "action.continue": "Continuer",
  "action.discard": "Abandonner",
  "action.hide": "Continuer en arrière-plan",
  "action.newReview": "Commencer une nouvelle révision",
  "action.tryAgain": "Réessayer",

  "loading.title": "Chargement de l’aperçu",
  "loading.text": "Recherche des fichiers à enregistrer…",

  "choose.title": "Où enregistrer le dossier d’audit ?",
  "choose.lead":
    "La révision terminée est enregistrée sous la forme d’un dossier d’audit, dans lequel toute modification ultérieure est détectable.",
  "choose.destination": "Destination",
  "choose.recommended": "Recommandé",
  "choose.warnings": "Avant de continuer",
  "choose.contents": "{files} · {size} · et une liste avec la somme de contrôle de chaque fichier",
  "choose.missingFile":
    "« {file} » ({size}) n’a pas été envoyé entièrement et n’est pas sélectionné. S’il fait partie de la révision, annulez et choisissez-le à nouveau.",
  "option.s3.label": "Enregistrer dans le stockage cloud",
  "option.s3.explanation":
    "Toutes les personnes ayant accès au stockage (S3) de votre organisation peuvent lire le dossier. Si ce stockage n’est pas disponible, le dossier est d’abord enregistré sur le serveur et vous en êtes informé ici.",
  "option.s3.explanationWithoutFallback":
    "Toutes les personnes ayant accès au stockage (S3) de votre organisation peuvent lire le dossier. Si ce stockage n’est pas disponible, rien n’est enregistré et vous pouvez réessayer.",
  "option.s3.unavailable": "Le stockage cloud (S3) n’est pas configuré sur ce serveur.",
  "option.local.label": "Enregistrer uniquement sur le serveur",
  "option.local.explanation":
    "Le dossier se trouve uniquement sur le disque de ce serveur et peut être téléchargé. Il est perdu si ce disque est perdu.",
  "option.unavailable": "Cette option n’est pas disponible.",
  "option.cancel.explanation": "Rien n’est enregistré. La révision ne change pas.",

  "warning.NOTHING_ACCEPTED": "Aucune remarque n’a été acceptée.",
  "warning.NO_DOCUMENTS":
    "Aucun document n’est enregistré : le dossier contiendra uniquement les remarques, les journaux et les rapports.",
  "warning.NO_FEEDBACK": "La révision ne contient aucune remarque.",
  "warning.NO_GUIDELINES": "La révision n’indique pas de directives.",
  "warning.UNKNOWN_ACCEPTED_ID":
    "Certaines remarques acceptées ne correspondent à aucune suggestion de cette révision.",
  "warning.VALUES_REPLACED":
    "Certaines valeurs de la révision ne peuvent pas être enregistrées telles quelles et sont remplacées. Le résultat les indique.",

  "notify.label": "M’avertir par e-mail",
  "notify.labelWithAddress": "M’avertir par e-mail à {email}",
  "notify.address": "Votre adresse e-mail",
  "notify.invalid": "Saisissez une adresse e-mail, par exemple ada@example.com.",
  "notify.refused": "Le serveur n’envoie pas d’e-mails à cette adresse.",

  "confirm.title.s3": "Enregistrer cette révision dans le stockage cloud ?",
  "confirm.title.local": "Enregistrer cette révision uniquement sur le serveur ?",
  "confirm.lead": "Voici ce qui va se passer :",
  "confirm.collect": "Rassembler",
  "confirm.collect.text": "{files} ({size}) : les documents, toutes les remarques, les journaux et deux rapports.",
  "confirm.store.s3": "Enregistrer dans le stockage cloud",
  "confirm.store.s3.text":
    "Les fichiers sont enregistrés dans un nouveau répertoire, dont le nom contient l’heure et le nom du document.",
  "confirm.store.local": "Enregistrer sur le serveur",
  "confirm.store.local.text":
    "Les fichiers sont enregistrés dans un nouveau répertoire sur le disque du serveur, dont le nom contient l’heure et le nom du document.",
  "confirm.seal": "Sceller",
  "confirm.seal.text":
    "Une liste avec la taille et la somme de contrôle de chaque fichier est enregistrée en dernier. Ensuite, toute modification est détectable.",
  "confirm.fallback":
    "Si le stockage cloud n’est pas disponible, tout le dossier est enregistré sur le disque du serveur, puis déplacé automatiquement vers le stockage cloud. Un message s’affichera.",
  "confirm.noFallback":
    "Si le stockage cloud n’est pas disponible, rien n’est enregistré. Un message s’affichera et vous pourrez réessayer.",
  "confirm.notify": "Vous serez averti par e-mail à {email}.",
  "confirm.keepOpen":
    "Gardez cette page ouverte jusqu’à ce que le serveur ait tout reçu. Ensuite, l’exportation continue même si vous la fermez.",
  "confirm.action.s3": "Enregistrer dans le cloud",
  "confirm.action.local": "Enregistrer sur le serveur",

  "running.title": "Enregistrement du dossier d’audit",
  "running.title.reconnecting": "Reconnexion à l’exportation",
  "running.title.otherTab": "Cette révision est en cours d’enregistrement dans un autre onglet",
  "running.keepOpen": "Gardez cette page ouverte jusqu’à ce que le serveur ait tout reçu.",
  "running.keepOtherTabOpen": "Gardez l’autre onglet ouvert jusqu’à ce que le serveur ait tout reçu.",
  "running.mayClose": "Vous pouvez fermer cette page. L’exportation continue.",
  "running.hashing": "Lecture de {file} : {percent}",
  "running.uploading": "Envoi de {file} au serveur : {percent}",
  "running.unnamedFile": "un document",
  "running.sending": "Envoi de la révision au serveur…",
  "running.looking": "Recherche de l’exportation sur le serveur…",
  "running.storing": "Enregistrement des fichiers…",
  "running.storing.local": "Enregistrement des fichiers sur le disque du serveur…",
  "running.withoutProgress":
    "L’exportation est en cours sur le serveur. Sa progression ne peut pas être affichée pour le moment.",
  "running.connectionLost": "La connexion est interrompue. Reconnexion…",
  "running.offline": "Cet appareil est hors ligne. La connexion sera rétablie dès qu’il sera en ligne.",
  "running.counts": "{done} sur {files} enregistrés",
  "running.countsWithSize": "{done} sur {files} enregistrés · {sent} sur {size} envoyés",
  "running.bar.hashing": "Lecture du document",
  "running.bar.uploading": "Envoi du document",
  "running.bar.storing": "Enregistrement des fichiers",
  "running.fellBack":
    "Le dossier ne peut pas être enregistré dans le stockage cloud pour le moment. Il est enregistré sur le disque du serveur.",
  "running.state.waiting": "En attente",
  "running.state.sending": "En cours",
  "running.state.retrying": "Nouvel essai",
  "running.state.stored": "Enregistré",

  "done.title.s3": "Enregistré dans le stockage cloud",
  "done.title.local": "Enregistré sur le serveur",
  "done.title.provisional": "Enregistré provisoirement sur le serveur",
  "done.fellBack": "Le dossier n’a pas encore pu être enregistré dans le stockage cloud.",
  "done.fellBack.safe": "Rien n’est perdu : le dossier complet et vérifié est sur le disque du serveur.",
  "done.fellBack.next":
    "Le serveur le déplace automatiquement vers le stockage cloud. Les valeurs provisoires ci-dessous changeront alors ; cette page affichera les valeurs définitives dès qu’elles seront connues.",
  "done.synced": "Le dossier est maintenant dans le stockage cloud. Voici les valeurs définitives.",
  "done.location": "Emplacement",
  "done.files": "Fichiers",
  "done.files.text": "{files} et la liste des sommes de contrôle",
  "done.size": "Taille",
  "done.time": "Enregistré le",
  "done.proof": "Preuve",
  "done.proof.hint":
    "La somme de contrôle du dossier (SHA-256 de son manifeste). Conservez-la pour prouver plus tard que le dossier n’a pas été modifié.",
  "done.provisional": "provisoire",
  "done.replacements": { one: "{count} valeur a été remplacée.", other: "{count} valeurs ont été remplacées." },
  "done.replacements.text": "Le dossier est complet par ailleurs, et sa liste de fichiers les indique.",
  "done.replacements.show": "Afficher les valeurs",
  "done.download": "Télécharger",
  "done.download.document": "Document final",
  "done.download.bundle": "Dossier complet (ZIP)",
  "done.copy.location": "Copier l’emplacement",
  "done.copy.proof": "Copier la preuve",
  "done.copied": "Copié",
  "done.notCopied": "Copie impossible",

  "download.starting": "Téléchargement – {file}…",
  "download.percent": "Téléchargement – {file} : {percent}",
  "download.bytes": "Téléchargement – {file} : {size}",
  "download.bundle": "dossier d’audit",
  "download.saved": "{file} ({size}) a été vérifié et transmis à votre navigateur.",
  "download.failed": "Le téléchargement a échoué. {reason} Vous pouvez réessayer.",
  "download.unsafeName": "Le nom du fichier n’est pas valide : le fichier n’a pas été enregistré.",

  "replaced.NOT_UNICODE": "{path} : contient la moitié d’un caractère, remplacée par �",
  "replaced.NOT_FINITE": "{path} : n’est pas un nombre fini ; enregistré sous forme de texte",
  "replaced.NOT_EXACT": "{path} : est un nombre qui serait arrondi ; enregistré sous forme de texte",
  "replaced.KEY_NOT_TEXT": "{path} : a une clé qui n’est pas un texte ; enregistré sous le texte de la clé",
  "replaced.DUPLICATE_KEY": "{path} : a une clé en double ; enregistré sous une autre clé",
  "replaced.TOO_DEEP": "{path} : a trop de niveaux ; enregistré sous forme de texte ou laissé vide",
  "replaced.CIRCULAR": "{path} : se contient lui-même ; laissé vide",
  "replaced.BYTES": "{path} : contient des données binaires ; enregistré sous forme de texte (base64)",
  "replaced.UNKNOWN_TYPE": "{path} : est d’un type inconnu ; enregistré sous forme de texte",

  "failed.title.preview": "L’aperçu n’a pas pu être chargé",
  "failed.title.refused": "Aucun dossier n’a été créé",
  "failed.title.start": "La révision n’a pas pu être envoyée",
  "failed.title.follow": "Le résultat n’est pas encore connu",
  "failed.title.unreachable": "Le serveur est inaccessible",
  "failed.offline": "Cet appareil est hors ligne.",
  "failed.unreachable.preview": "Rien n’a été envoyé. Vérifiez votre connexion, puis réessayez.",
  "failed.unreachable.start":
    "Le serveur n’a pas confirmé la réception de la révision. Gardez cette page ouverte, vérifiez votre connexion, puis réessayez : cela ne crée jamais un second dossier.",
  "failed.unreachable.look":
    "Le serveur ne répond pas : on ne sait pas s’il a reçu la révision. Cette page se reconnectera dès que le serveur sera accessible.",
  "failed.unreachable.follow":
    "Le serveur a accepté l’exportation et la poursuit. Cette page se reconnectera dès que le serveur sera accessible.",
  "failed.follow":
    "Le serveur a accepté l’exportation. Il n’est pas possible d’afficher pour le moment si elle est terminée.",
  "failed.page": "Le serveur de la page a renvoyé une erreur (statut {status}).",
  "failed.page.noName": "Le serveur de la page n’a pas renvoyé le nom de l’exportation.",
  "failed.administrator": "Pour votre administrateur :",
  "failed.fields": "Le serveur a refusé ces valeurs :",

  "error.ARCHIVED": "Le dossier est archivé. Demandez à votre administrateur de le restaurer, puis réessayez.",
  "error.CREDENTIALS_EXPIRED": "Votre connexion a expiré. Connectez-vous à nouveau, puis réessayez.",
  "error.CREDENTIALS_INVALID":
    "Le serveur n’accepte pas votre identification. Connectez-vous à nouveau ou contactez votre administrateur.",
  "error.CREDENTIALS_MISSING": "Le serveur exige une identification. Connectez-vous, puis réessayez.",
  "error.DAMAGED": "Les données reçues sont endommagées.",
  "error.DATA_LOSS":
    "Un fichier diffère de ce qui a été enregistré. Conservez le dossier et contactez votre administrateur.",
  "error.DEADLINE_PASSED": "Le serveur n’a pas répondu à temps. Attendez un instant, puis réessayez.",
  "error.EXPORT_NOT_FOUND": "Le serveur ne connaît pas cette exportation.",
  "error.EXPORT_NOT_HERE":
    "Le serveur auquel cette page est connectée ne connaît pas l’exportation pour le moment. Contactez votre administrateur si cela ne change pas.",
  "error.HOST_NOT_ALLOWED": "Le serveur n’accepte pas d’appels à cette adresse. Contactez votre administrateur.",
  "error.HTTP_ERROR": "Un autre programme a répondu à la place du serveur. Contactez votre administrateur.",
  "error.INTERNAL": "Le serveur a un problème interne. Contactez votre administrateur s’il se reproduit.",
  "error.INVALID_REQUEST": "Le serveur ne peut pas traiter cette révision.",
  "error.INVALID_RESPONSE": "La réponse du serveur est illisible. Contactez votre administrateur.",
  "error.LOCAL_STORE_FULL": "Le disque du serveur est plein. Demandez à votre administrateur de libérer de l’espace.",
  "error.NO_BUCKET":
    "Le stockage cloud n’est pas configuré sur ce serveur. Le dossier peut être enregistré sur le serveur lui-même.",
  "error.OVERLOADED": "Le serveur est occupé. Attendez un instant, puis réessayez.",
  "error.QUARANTINED": "Le serveur ne peut pas poursuivre seul cette exportation. Contactez votre administrateur.",
  "error.READ_ONLY": "Le serveur n’accepte pas d’exportations pour le moment. Contactez votre administrateur.",
  "error.REQUEST_ID_REUSED":
    "Cette révision a déjà été enregistrée avec un autre contenu. « Réessayer » l’enregistre dans un autre dossier.",
  "error.REQUEST_TOO_LARGE": "La révision est trop volumineuse pour le serveur.",
  "error.REQUEST_TOO_SLOW": "La connexion est trop lente pour cette révision. Réessayez avec une meilleure connexion.",
  "error.RESPONSE_TOO_LARGE": "La réponse du serveur est trop volumineuse pour cette page.",
  "error.ROLE_MISSING": "Vous n’avez pas l’autorisation nécessaire. Contactez votre administrateur.",
  "error.SOURCE_LOST": "Un document de cette révision n’est plus à son emplacement d’origine.",
  "error.SOURCE_NOT_ALLOWED":
    "Le serveur n’a pas le droit de lire l’emplacement d’un document. Contactez votre administrateur.",
  "error.SOURCE_NOT_FOUND": "Un document de cette révision n’est pas à son emplacement.",
  "error.STORE_CHANGED": "Le stockage cloud du serveur a changé. Contactez votre administrateur.",
  "error.STORE_DENIED":
    "Le serveur n’a pas accès au stockage cloud. Demandez à votre administrateur d’autoriser l’accès.",
  "error.STORE_MISCONFIGURED":
    "Le stockage cloud du serveur n’est pas configuré correctement. Contactez votre administrateur.",
  "error.STORE_UNAVAILABLE": "Le serveur ne peut pas accéder au stockage cloud. Attendez un instant, puis réessayez.",
  "error.STORE_UNSAFE":
    "Le stockage cloud du serveur n’est pas sûr pour les dossiers d’audit. Contactez votre administrateur.",
  "error.UNREADABLE":
    "Un document n’a pas pu être lu. Si son fichier a été modifié ou déplacé, choisissez-le à nouveau.",
  "error.UNTRUSTED_RESPONSE":
    "La réponse du serveur n’est pas digne de confiance et n’a pas été utilisée. Contactez votre administrateur.",
  "error.UPLOAD_ABORTED": "Un document a été endommagé pendant l’envoi ou modifié entre-temps. Réessayez.",
  "error.UPLOAD_NOT_FOUND": "Le serveur n’a plus le document envoyé. Réessayez : il sera envoyé une nouvelle fois.",
  "error.unreachable": "Le serveur est inaccessible.",
  "error.unauthenticated": "Le serveur n’accepte pas votre identification. Connectez-vous à nouveau, puis réessayez.",
  "error.permissionDenied": "Vous n’avez pas l’autorisation nécessaire. Contactez votre administrateur.",
  "error.unavailable": "Le serveur ne peut pas faire cela pour le moment. Attendez un instant, puis réessayez.",
  "error.other": "Le serveur a signalé un problème.",

  "interrupted.title": "L’envoi a été interrompu",
  "interrupted.text":
    "L’envoi s’est arrêté avant que le serveur ait tout reçu, par exemple parce que la page a été rechargée. Rien n’a été enregistré.",
  "interrupted.file":
    "« {file} » ({size}) n’a pas été envoyé entièrement. Choisissez-le à nouveau, puis terminez à nouveau la révision : l’envoi reprendra là où il s’est arrêté.",
  "interrupted.noFile": "Terminez à nouveau la révision pour l’enregistrer.",
  "interrupted.watching": "Si le serveur a tout de même reçu la révision, cette fenêtre l’affichera.",

  "status.label": "Dossier d’audit",
  "status.open": "Afficher",
  "status.sending": "Envoi de la révision : {percent}. Gardez cette page ouverte.",
  "status.sendingWithoutProgress": "Envoi de la révision. Gardez cette page ouverte.",
  "status.running": "Enregistrement du dossier d’audit : {percent}",
  "status.runningWithoutProgress": "Enregistrement du dossier d’audit…",
  "status.connectionLost": "Reconnexion au serveur…",
  "status.saved": "Le dossier d’audit est enregistré",
  "status.provisional": "Le dossier d’audit est enregistré provisoirement sur le serveur",
  "status.failed": "Le dossier d’audit n’a pas été enregistré",
  "status.unknown": "Le serveur est inaccessible",
  "status.interrupted": "L’envoi de la révision a été interrompu",
};
